"""The pages say what is: settings, decisions, commands, links. One that lags behind fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from tests.docs.files import PACKAGES, ROOT, code, links, name, pages, text
from tests.docs.test_cards import PLACEHOLDER

README = ROOT / "README.md"
DOCS = ROOT / "docs"
#: Pages whose commands a person types.
TYPED = [README, *sorted(DOCS.glob("*.md")), *sorted((ROOT / "models").rglob("CARD.md"))]
_MAKE = re.compile(r"(?:^|[\s&;(])make +([a-z][\w-]*)")
_ASSAY = re.compile(r"(?:^|[\s&;(/])assay +([a-z][\w-]*)")


def commands(pattern: re.Pattern[str], page: Path) -> set[str]:
    return {found for line in code(text(page)) for found in pattern.findall(line)}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", text(ROOT / "Makefile"), re.MULTILINE))


def assay_commands() -> set[str]:
    from orchestration.cli import app

    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_setting_has_a_line_in_operations():
    from orchestration.settings import Settings

    page = text(DOCS / "operations.md")
    prefix = Settings.model_config["env_prefix"]
    variables = {f"{prefix}{field}".upper() for field in Settings.model_fields}
    assert not {v for v in variables if f"`{v}`" not in page}, "add a line to docs/operations.md"


def test_operations_invents_no_setting():
    """What it names is a setting, or stands in the code under that very name."""
    everywhere = "\n".join(
        text(path)
        for folder in (*PACKAGES, "dbt_project")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".yml", ".sql") and "target" not in path.parts
    )
    from orchestration.settings import Settings

    known = {f"ASSAY_{field}".upper() for field in Settings.model_fields}
    named = set(re.findall(r"ASSAY_[A-Z_]+", text(DOCS / "operations.md")))
    assert not {v for v in named - known if v not in everywhere}


def test_every_decision_is_linked_from_the_architecture():
    linked = set(links(text(DOCS / "architecture.md")))
    there = {f"decisions/{path.name}" for path in (DOCS / "decisions").glob("*.md")}
    assert there - linked == set(), "link it from docs/architecture.md"


@pytest.mark.parametrize("page", TYPED, ids=name)
def test_commands_exist(page: Path):
    assert commands(_MAKE, page) <= make_targets()
    assert commands(_ASSAY, page) <= assay_commands()


def test_the_readme_shows_the_two_commands():
    assert {"demo", "test"} <= commands(_MAKE, README)


def test_every_command_of_the_cli_is_in_operations():
    assert assay_commands() - {"up", "demo"} <= commands(_ASSAY, DOCS / "operations.md")


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path):
    for link in links(text(page)):
        if "://" in link or link.startswith(("#", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as forges make them."""
    titles = re.findall(r"^#+ +(.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_nothing_is_left_to_fill_in(page: Path):
    assert PLACEHOLDER not in text(page)
