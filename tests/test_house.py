"""The house's own rules: who may import whom, what ships, and that the standard library is still itself."""

from __future__ import annotations

import ast
import codecs
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dragoman.codecs
import dragoman.proxy

HOUSE = Path(__file__).resolve().parent.parent
PACKAGES = ("codecs", "conf", "proxy", "handlers")
MAY_IMPORT = {"codecs": set(), "conf": {"codecs"}, "proxy": {"codecs", "conf"}, "handlers": {"codecs", "conf", "proxy"}}
KNOWS_EVERYTHING = "proxy/app.py"
MODULES = sorted(path for package in PACKAGES for path in (HOUSE / package).rglob("*.py"))
LONGEST = 700
VAGUE = {"told", "kept", "found", "given", "said"}  # as names they say nothing of what they hold

# Rooms are the folders in proxy/, and the modules that stand beside them. Each may import what stands in its row; from cli down to
# wire every room stands on those below it, load beside them. Under TYPE_CHECKING is an import, too.
BELOW_EXCHANGE = {"credentials", "memory", "routing", "wire", "keys", "telemetry"}
BELOW_GATEWAY = {"control", "inspector", "websocket", "exchange"} | BELOW_EXCHANGE
ROOMS = {
    "wire": set(),
    "child": set(),
    "credentials": {"child"},
    "keys": {"memory", "wire"},  # limits are counted where the state is stored
    "telemetry": set(),
    "routing": {"credentials", "wire"},
    "memory": {"routing", "wire"},
    "control": {"child", "keys", "memory", "telemetry", "wire"},
    "exchange": BELOW_EXCHANGE,
    "inspector": {"exchange"} | BELOW_EXCHANGE,
    "websocket": {"exchange"} | BELOW_EXCHANGE,
    "gateway": BELOW_GATEWAY,
    "app": {"gateway"} | BELOW_GATEWAY,
    "process": {"app", "gateway"} | BELOW_GATEWAY,
    "load": {"wire"},
    "translate": {"exchange"},
    "cli": {"process", "app", "gateway", "load", "translate"} | BELOW_GATEWAY,
    "__main__": {"cli"},
}


def test_the_standard_library_is_itself() -> None:
    assert codecs.lookup("utf-8").name == "utf-8"
    assert not {"proxy", "handlers", "conf"} & set(sys.modules)


def _imported(path: Path) -> set[str]:
    """Which of the four packages a module imports, itself excepted."""
    package = path.relative_to(HOUSE).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: -node.level]
            full = [*above, *(node.module or "").split(".")] if node.module else list(above)
            if full and full[0] in PACKAGES:
                found.add(full[0])
            elif not full:
                found |= {alias.name for alias in node.names if alias.name in PACKAGES}
        elif (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dragoman")) or (
            isinstance(node, ast.Import) and any(alias.name.startswith("dragoman") for alias in node.names)
        ):
            pytest.fail(f"{path}: between our packages imports are relative")
    return found - {package[0]}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports(path: Path) -> None:
    name = path.relative_to(HOUSE).as_posix()
    if name == KNOWS_EVERYTHING:
        return
    package = name.split("/")[0]
    assert _imported(path) <= MAY_IMPORT[package]


def _arrows() -> set[tuple[str, str]]:
    """From which room of proxy/ to which other."""
    found = set()
    for path in (HOUSE / "proxy").rglob("*.py"):
        parts = path.relative_to(HOUSE).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.ImportFrom) and node.level):
                continue
            module = [*parts[: -node.level], *(node.module or "").split(".")] if node.module else [*parts[: -node.level]]
            targets = [module] if len(module) > 1 else [[*module, alias.name] for alias in node.names]
            found |= {(parts[1], target[1]) for target in targets if target[0] == "proxy"}
    return {(room, other) for room, other in found if room != other and room != "__init__"}


def test_rooms_form_no_circle() -> None:
    assert list(TopologicalSorter(ROOMS).static_order())  # raises CycleError
    arrows = _arrows()
    assert {room for room, _ in arrows} <= ROOMS.keys()
    upwards = {(room, other) for room, other in arrows if other not in ROOMS[room]}
    assert upwards == set(), "a room imports what stands above or beside it"


def test_the_drawing_of_the_rooms_has_every_import() -> None:
    """docs/architecture.md: a room stands above each that it imports."""
    drawn = re.findall(r"^ +(\w+)(?:\[.*?\])? --> (\w+)", (HOUSE / "docs" / "architecture.md").read_text(), re.MULTILINE)
    below: dict[str, set[str]] = {}
    for room in TopologicalSorter({room: {other for above, other in drawn if above == room} for room, _ in drawn}).static_order():
        ways = {other for above, other in drawn if above == room}
        below[room] = ways.union(*(below[other] for other in ways))
    assert {(room, other) for room, other in _arrows() if {room, other} <= below.keys() and other not in below[room]} == set()


def test_codecs_are_pure() -> None:
    forbidden = {"tornado", "asyncio", "socket", "time", "random", "secrets", "os"}
    for path in (HOUSE / "codecs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not forbidden & {name.split(".")[0] for name in names}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_modules_can_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_names_say_what_they_hold(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, (ast.arg, ast.keyword)):
            names.add(node.arg or "")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
    assert not VAGUE & {name.strip("_").lower() for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_constant_has_one_value(path: Path) -> None:
    """The second of two takes the place of the first one, which no other check sees."""
    assigned = [node.targets[0] for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    names = [target.id for target in assigned if isinstance(target, ast.Name) and target.id.isupper()]
    assert len(names) == len(set(names))


def test_tests_can_be_read() -> None:
    found = [path.name for path in (HOUSE / "tests").rglob("*.py") if len(path.read_text().splitlines()) > LONGEST]
    assert not found


def test_all_packages_ship() -> None:
    """What setup.py finds is what is there."""
    for package in (dragoman.codecs, dragoman.proxy):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").exists()
