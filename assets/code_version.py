"""The version of the code behind an asset: a digest over every project file it can reach.

Followed statically through imports, so nobody keeps a list by hand, and a change in one learner
re-runs that product only. Knows nothing of data.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "assets", "stores", "bentos")


@cache
def code_version(*modules: str, salt: str = "", root: Path = ROOT) -> str:
    """Digest over the files reachable from ``modules`` by project imports.

    Args:
        modules: Dotted module names to start from.
        salt: Anything else the result depends on, e.g. a part of the product's spec as JSON.
        root: Folder that holds the top-level packages.

    Returns:
        16 hex digits.
    """
    digest = hashlib.sha256(salt.encode())
    for path in sorted(_closure(modules, root)):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _closure(modules: tuple[str, ...], root: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop(), root)
        if path and path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return found


def _file(module: str, root: Path) -> Path | None:
    """The file of a project module; ``package.name`` of an attribute is the package's file."""
    if module.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8"))))


def _walk(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
