"""Imports point one way: each room imports rooms below it, never one above or beside it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = [ROOT, ROOT / "client", ROOT / "export", ROOT / "loadtests"]
PACKAGES = ["shopwindow", "shopwindow_client", "shopwindow_export", "shopwindow_loadtests"]
BASE, RETRIEVAL, INDEXING = "shopwindow.base", "shopwindow.retrieval", "shopwindow.indexing"
TOWERS, SERVER, TRITON = "shopwindow.towers", "shopwindow.server", "shopwindow.triton_models"

# Room -> the rooms that it may import. A room may always import itself.
HOUSE = {
    "shopwindow.demo": ["shopwindow", "shopwindow_client", "shopwindow_export"],
    "shopwindow.cli": ["shopwindow", "shopwindow_client", "shopwindow_export", "shopwindow_loadtests"],
    "shopwindow_loadtests": [
        *(BASE, RETRIEVAL, INDEXING, TOWERS, SERVER, "shopwindow.demo_shop"),
        *("shopwindow_client", "shopwindow_export"),
    ],
    "shopwindow_export": [BASE, RETRIEVAL, INDEXING, TOWERS],
    INDEXING: [BASE, RETRIEVAL, "shopwindow_client"],
    SERVER: [BASE, "shopwindow_client"],
    "model_repository": [TRITON, RETRIEVAL],
    TRITON: [BASE, RETRIEVAL],
    TOWERS: [BASE, RETRIEVAL],
    RETRIEVAL: [BASE],
    "shopwindow.demo_shop": [BASE],
    "shopwindow_client": [RETRIEVAL],
    BASE: [],
}
# The same inside the rooms that have an order of their own, lowest first; a room may import those before it.
ORDERS = {
    RETRIEVAL: [
        ["errors", "stopwatch"],
        ["request", "embedding", "engines"],
        ["index"],
        ["page"],
        ["search", "duplicates"],
        ["milvus"],
        ["opening"],
        ["pipeline"],
        ["live"],
    ],
    INDEXING: [["errors"], ["catalogue"], ["inspection", "generation_report"], ["full_build"], ["update"]],
    "shopwindow_export": [["errors"], ["graphs"], ["plans", "parity"], ["validation"], ["repository"]],
    "shopwindow_loadtests": [
        ["benchmarks_document"],
        ["scenario"],
        ["judging"],
        ["sending", "generator"],
        ["bisect", "index_bench", "client_overhead"],
        ["peers", "soak", "gpu", "gateway_cost", "text_ids_cost", "word_splitting"],
        ["fuzz", "page_bench"],
    ],
}
MAX_LINES, MAX_FILES = 400, 15
TRITON_ONLY = ("triton_python_backend_utils",)


def files() -> Iterator[tuple[str, Path]]:
    """Every module of ours by its dotted name."""
    for source in SOURCES:
        for package in PACKAGES:
            for file in sorted((source / package).rglob("*.py")):
                yield ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__"), file
    for file in sorted((ROOT / "model_repository").rglob("model.py")):
        yield f"model_repository.{file.parent.parent.name}", file


def imports(file: Path, module: str) -> Iterator[str]:
    """The modules that a file imports anywhere, inside functions too."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # `from room import module` imports the module, whatever else it may be.
            yield from (f"{base}.{name.name}" for name in node.names)


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str | None:
    return max((room for room in HOUSE if inside(module, room)), key=len, default=None)


def part_of(module: str, room: str) -> str:
    return module.removeprefix(f"{room}.").partition(".")[0]


ALL = {module: set(imports(file, module)) for module, file in files()}


def test_the_rules_see_the_code() -> None:
    """An empty search would pass every other test here."""
    assert len(ALL) > 300
    assert {room_of(module) for module in ALL} >= set(HOUSE)
    assert f"{RETRIEVAL}.pipeline.InProcessPipeline" in ALL[RETRIEVAL]


def test_rooms_import_only_rooms_below_them() -> None:
    wrong = [
        f"{module} imports {name}: {room} may import {HOUSE[room]}"
        for module, names in ALL.items()
        if (room := room_of(module))
        for name in names
        if name.partition(".")[0] in PACKAGES and not any(inside(name, allowed) for allowed in [room, *HOUSE[room]])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ORDERS)
def test_inside_a_room_imports_point_down(room: str) -> None:
    floor = {part: number for number, parts in enumerate(ORDERS[room]) for part in parts}
    wrong = []
    for module, names in ALL.items():
        if not inside(module, room) or (own := part_of(module, room)) not in floor:
            continue
        for name in names:
            other = part_of(name, room) if inside(name, room) else own
            if other != own and other in floor and floor[other] >= floor[own]:
                wrong.append(f"{module} imports {name}: {own} stands below or beside {other}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """At load time: an import inside a function is none. A package counts as its __init__.py alone."""
    loaded: dict[str, set[str]] = {}
    for module, file in files():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
        names = {
            name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in (n.name for n in node.names)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        loaded[module] = {name for name in names if name in ALL and name != module}
    packages = {module for module, file in files() if file.name == "__init__.py"}
    loaded = {module: names - packages for module, names in loaded.items()}
    while leaves := {module for module, names in loaded.items() if not names & loaded.keys()}:
        loaded = {module: names for module, names in loaded.items() if module not in leaves}
    assert not loaded, f"these import each other in a circle, or import one that does: {sorted(loaded)}"


def test_libraries_stay_in_the_rooms_that_need_them() -> None:
    """A Triton process stays small, and outside of Triton its library does not exist."""
    for module, names in ALL.items():
        used = {name.partition(".")[0] for name in names}
        if inside(module, RETRIEVAL) or inside(module, INDEXING):
            assert not used & {"torch", *TRITON_ONLY, "tritonclient"}, module
        if not inside(module, TRITON) and not inside(module, "model_repository"):
            assert not used & set(TRITON_ONLY), module
        if inside(module, "shopwindow_client"):
            assert "torch" not in used, module


def test_the_client_loads_retrieval_only_inside_functions() -> None:
    for module, file in files():
        if inside(module, "shopwindow_client"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
            assert not any(node.module.startswith("shopwindow.") for node in top if not node.level), module


def test_files_and_folders_stay_small_enough_to_read() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for _, file in files()}
    assert not [f"{file}: {length} lines" for file, length in lengths.items() if length > MAX_LINES]
    folders = Counter(file.parent for file in lengths)
    assert not [f"{folder}: {count} files" for folder, count in folders.items() if count > MAX_FILES]
