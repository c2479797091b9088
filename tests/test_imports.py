"""Imports point one way, wherever in a file they stand, and never in a circle."""

from __future__ import annotations

import graphlib
import sys
from collections.abc import Mapping
from functools import cache

import grimp
import pytest

PACKAGES = ("benchmarks", "deploy", "export", "models", "service")
# What each room may import of the others; of two rooms that a module is in, the smaller one counts.
ROOMS: Mapping[str, frozenset[str]] = {
    "models.folder": frozenset(),
    "models.manifest": frozenset({"models.folder"}),
    "models.demo": frozenset({"models.folder"}),
    "models.synthetic": frozenset(),
    "service.engine": frozenset({"models.folder"}),
    "service.ort_model": frozenset({"models", "service.engine"}),
    "service.errors": frozenset({"service.engine"}),
    "service.hub": frozenset({"models.folder"}),
    "service.departure": frozenset({"service.errors"}),
    "service.signals": frozenset(),
    "service.conversations": frozenset({"service.errors"}),
    "service.chat": frozenset(
        {"models.folder", "service.conversations", "service.departure", "service.engine", "service.errors"}
    ),
    "service.serving": frozenset(
        {
            *("models", "service.chat", "service.conversations", "service.engine", "service.errors"),
            *("service.settings", "service.metrics", "service.logs", "service.libraries", "service.departure"),
            "service.signals",
        }
    ),
    "service.http": frozenset(
        {
            *("models", "service.chat", "service.conversations", "service.engine", "service.errors", "service.echo"),
            *("service.settings", "service.values", "service.serving", "service.metrics", "service.logs"),
            "service.departure",
        }
    ),
    "service": frozenset({"models", "service"}),
    "export": frozenset({"models", "service.echo", "service.engine", "service.hub", "service.ort_model"}),
    "deploy": frozenset({"models", "service"}),
    "benchmarks": frozenset({"export", "models", "service"}),
}
# Which rooms of the service may import what comes from elsewhere; the engine needs nothing else than these.
ENGINE_LIBRARIES = frozenset({"numpy", "onnx", "onnxruntime", "psutil"})
LIBRARIES: Mapping[str, frozenset[str]] = {
    "torch": frozenset({"service.ort_model"}),
    "optimum": frozenset({"service.ort_model"}),
    "transformers": frozenset({"service.ort_model", "service.chat", "service.serving.model_host"}),
    "flask": frozenset({"service.http", "service.serving.server"}),
    "waitress": frozenset({"service.serving"}),
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGES[0], *PACKAGES[1:], include_external_packages=True, cache_dir=None)


def within(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room}.")


def room_of(module: str) -> str:
    return max((room for room in ROOMS if within(module, room)), key=len, default="")


def modules(room: str) -> list[str]:
    return sorted(module for module in graph().modules if room_of(module) == room)


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_below_it(room: str) -> None:
    assert modules(room), "no such room"
    wrong = [
        f"{module} imports {imported}"
        for module in modules(room)
        for imported in sorted(graph().find_modules_directly_imported_by(module))
        if is_ours(imported) and not any(within(imported, allowed) for allowed in {room, *ROOMS[room]})
    ]
    assert not wrong


def test_nothing_imports_in_a_circle() -> None:
    edges = {
        module: {imported for imported in graph().find_modules_directly_imported_by(module) if is_ours(imported)}
        for module in graph().modules
        if is_ours(module)
    }
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_in_its_rooms(library: str) -> None:
    importers = [module for module in graph().find_modules_that_directly_import(library) if within(module, "service")]
    assert importers, "nothing imports it"
    assert not [module for module in importers if not any(within(module, room) for room in LIBRARIES[library])]


def test_the_engine_needs_numpy_and_onnx_runtime_only() -> None:
    for module in modules("service.engine"):
        for imported in graph().find_modules_directly_imported_by(module):
            assert is_ours(imported) or imported in ENGINE_LIBRARIES | sys.stdlib_module_names, (module, imported)
