"""CONTRIBUTING's map of the rooms, held against the code's own imports."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fastrad"
FREE = {"errors"}  # every room may raise one-line errors


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(path: Path) -> Iterator[str]:
    """Every module of fastrad that a file imports, at its top or late."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("fastrad."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fastrad":
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def _rooms_of_the_map() -> dict[str, set[str] | None]:
    """Room -> the rooms that it may import; None for any."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms: dict[str, set[str] | None] = {}
    for name, imports in re.findall(r"^\| `fastrad/(\w+)/` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE):
        rooms[name] = None if imports.strip() == "any" else set(re.findall(r"`(\w+)`", imports))
    return rooms


ROOMS = _rooms_of_the_map()


def test_the_map_names_every_room():
    assert set(ROOMS) == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room_than_the_map_says(room):
    allowed = ROOMS[room]
    if allowed is None:
        return
    strays = {
        f"{name} imports {imported}"
        for name, path in MODULES.items()
        if name.split(".")[1:2] == [room]
        for imported in _imports(path)
        if imported != "fastrad" and imported.split(".")[1] not in allowed | FREE | {room}
    }
    assert not strays


def test_no_module_is_in_a_circle_of_imports():
    graph: dict[str, set[str]] = defaultdict(set)
    for name, path in MODULES.items():
        # a package that imports its own modules to publish their names is no circle
        graph[name] = {other for other in _imports(path) if other != name and not name.startswith(f"{other}.")}

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in found:
                found.add(module)
                waiting += graph[module]
        return found

    assert not sorted(name for name in graph if name in reachable(name))


def test_no_module_is_longer_than_400_lines():
    long = {name: count for name, path in MODULES.items() if (count := len(path.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.parametrize(
    "path",
    sorted(
        set(re.findall(r"`((?:fastrad|tests|tools|benchmarks|docs)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    ),
)
def test_what_contributing_names_is_there(path):
    assert (ROOT / path).exists()
