"""What the documentation tests look at: the project's files and its Markdown. Asserts nothing."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "assets", "stores", "orchestration", "gateway", "bentos")

_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def project_files() -> tuple[Path, ...]:
    """Every file git tracks or would track; without git, every file outside hidden folders."""
    if not (ROOT / ".git").exists():
        found = (p for p in ROOT.rglob("*") if p.is_file())
        return tuple(p for p in found if not any(x.startswith(".") for x in p.parts))
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = (ROOT / name for name in done.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())  # deleted ones are still in the index


def sources(*packages: str) -> list[Path]:
    """Python files below these top-level folders; all when none is named."""
    python = [path for path in project_files() if path.suffix == ".py"]
    if not packages:
        return python
    return [path for path in python if path.relative_to(ROOT).parts[0] in packages]


def pages() -> list[Path]:
    """Every Markdown file."""
    return [path for path in project_files() if path.suffix == ".md"]


def text(path: Path) -> str:
    """The file's text."""
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    """Path for messages and test ids."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(text(path), str(path))


def code(page: str) -> list[str]:
    """Lines of fenced blocks and code spans: where commands stand, and no prose."""
    fenced = [line for block in _FENCE.findall(page) for line in block.splitlines()]
    return fenced + _SPAN.findall(_FENCE.sub("", page))


def links(page: str) -> list[str]:
    """Targets of links and pictures, without those inside code."""
    return _LINK.findall(_SPAN.sub("", _FENCE.sub("", page)))


def sections(page: str) -> dict[str, str]:
    """Second-level headings and the text below each."""
    parts = re.split(r"^## +(.+)$", page, flags=re.MULTILINE)
    titles, bodies = ([part.strip() for part in parts[first::2]] for first in (1, 2))
    return dict(zip(titles, bodies, strict=True))
