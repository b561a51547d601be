"""Hold every file to the table of rooms in docs/architecture.md, imports inside functions included."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cnnlab"
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}
LAZY = 15  # imports of cnnlab's own modules inside functions, at most: those of torch behind a command or a table


def room_of(module: str) -> str:
    """The room of a module; a file at the root is a command, unless the table names it."""
    first = module.split(".")[1]
    return first if (PACKAGE / first).is_dir() or first in table() else "commands"


@cache
def table() -> dict[str, tuple[set[str], set[str]]]:
    """Of each room, the rooms and the libraries that it may import."""
    text = (ROOT / "docs/architecture.md").read_text().partition("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {
        room: (set(rooms.split(", ")) - {""}, set(libraries.split(", ")) - {""})
        for room, _, rooms, libraries in rows[2:]
    }


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that a file imports, wherever in it, with the statement."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in FILES or f"{deeper}.__init__" in FILES else node.module, node


MODULES = [m for m in FILES if m != "cnnlab.__init__"]


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_what_its_room_may(module):
    room = room_of(module)
    rooms, libraries = table()[room]
    for name, _ in imports(FILES[module]):
        top = name.partition(".")[0]
        if top == "cnnlab":
            assert room_of(name) in rooms | {room}, name
        elif top not in sys.stdlib_module_names:
            assert top in libraries, name


def test_arrows_between_rooms_point_down():
    order = list(table())
    for room, (rooms, _) in table().items():
        assert all(order.index(other) < order.index(room) for other in rooms), room


def test_no_file_imports_itself_in_a_circle():
    graph = {m: {name for name, _ in imports(FILES[m]) if name in FILES and name != m} for m in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_few_imports_hide_inside_functions():
    hidden = []
    for path in FILES.values():
        functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
        inside = {id(n): n for f in functions for n in ast.walk(f) if isinstance(n, (ast.Import, ast.ImportFrom))}
        hidden += [f"{path}: {ast.unparse(n)}" for n in inside.values() if "cnnlab" in ast.unparse(n)]
    assert len(hidden) <= LAZY, "\n".join(hidden)


@pytest.mark.parametrize("module", ["cnnlab.reporting.report", "cnnlab.train", "cnnlab.evaluate", "cnnlab.trained.run"])
def test_what_answers_at_once_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
