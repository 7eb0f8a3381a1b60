"""House rules on code: documented, typed, small, and without the paths of one machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.files import PACKAGES, name, project_files, sources, text, tree

MAX_FILE, MAX_FUNCTION = 300, 50
#: Made of parts, so that this file does not hold what it looks for.
FORBIDDEN = tuple("/".join(parts) for parts in (("", "work", ""), ("", "tmp", "bash_jobs")))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(path: Path) -> Iterator[ast.ClassDef | Function]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    member
                    for member in node.body
                    if isinstance(member, Function) and not member.name.startswith("_")
                )


def unannotated(function: Function) -> list[str]:
    """Arguments without a type, and ``return`` when that is missing."""
    given = function.args
    everything = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    everything += [extra for extra in (given.vararg, given.kwarg) if extra]
    bare = [arg.arg for arg in everything if arg.annotation is None]
    bare = [arg for arg in bare if arg not in ("self", "cls")]
    return bare if function.returns is not None else [*bare, "return"]


def length(function: Function) -> int:
    """Lines from ``def`` to the end, with the docstring."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name)
def test_every_module_says_what_it_is(path: Path):
    assert ast.get_docstring(tree(path)) or not text(path).strip()


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name)
def test_what_is_public_is_documented_and_typed(path: Path):
    for node in public(path):
        assert ast.get_docstring(node), f"{node.name} (line {node.lineno}) has no docstring"
        if isinstance(node, Function):
            assert not unannotated(node), f"{node.name} (line {node.lineno}): {unannotated(node)}"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_files_and_functions_are_short(path: Path):
    lines = len(text(path).splitlines())
    assert lines <= MAX_FILE, f"{lines} lines: divide it"
    for node in ast.walk(tree(path)):
        if isinstance(node, Function):
            assert length(node) <= MAX_FUNCTION, f"{node.name} has {length(node)} lines: divide it"


def test_no_file_holds_a_path_of_one_machine():
    found = [
        f"{name(path)}: {needle}"
        for path in project_files()
        for needle in FORBIDDEN
        if needle.encode() in path.read_bytes()
    ]
    assert not found
