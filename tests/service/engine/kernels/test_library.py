"""Building the kernel library, and never loading one that is not what it should be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.engine.kernels import build, library, sources
from service.engine.kernels.library import FILE_NAME, RECORD_NAME, STOCK
from tests.service.process import ROOT


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    shutil.copytree(built, folder)
    return folder


def why_stock(folder: Path) -> str:
    chosen = library.choose("auto", folder)
    assert chosen.name == STOCK
    assert chosen.library is None
    return chosen.title


def test_the_fastest_instruction_set_is_chosen_and_any_other_by_name(built: Path, instruction_sets: list[str]) -> None:
    assert library.choose().name == instruction_sets[0]
    for name in instruction_sets:
        chosen = library.choose(name)
        assert (chosen.name, chosen.library) == (name, built / FILE_NAME)
    assert library.choose("stock").library is None


def test_a_name_that_the_processor_lacks_is_refused_with_those_it_has(instruction_sets: list[str]) -> None:
    with pytest.raises(ValueError, match=f"no kernels called abacus; it has {instruction_sets[0]}"):
        library.choose("abacus")


def test_without_a_library_the_stock_kernels_serve_and_the_remedy_is_named(tmp_path: Path) -> None:
    assert why_stock(tmp_path) == "stock: the faster kernels are not built; make setup builds them with a C++ compiler"
    with pytest.raises(ValueError, match="Kernels for avx2 are not there: the faster kernels are not built"):
        library.choose("avx2", tmp_path)


@pytest.mark.parametrize("at", [0.0, 0.3, 0.99])
def test_a_damaged_library_is_never_loaded(copied: Path, at: float) -> None:
    path = copied / FILE_NAME
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)
    assert "is damaged" in why_stock(copied)


def test_a_library_cut_short_is_never_loaded(copied: Path) -> None:
    (copied / FILE_NAME).write_bytes((copied / FILE_NAME).read_bytes()[:5000])
    assert "is damaged" in why_stock(copied)


def test_a_library_of_other_sources_is_never_loaded(copied: Path) -> None:
    record = json.loads((copied / RECORD_NAME).read_text())
    (copied / RECORD_NAME).write_text(json.dumps(record | {"sources": "0" * 64}))
    assert "built from other sources" in why_stock(copied)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"sources": 1}'])
def test_a_damaged_record_is_no_record(copied: Path, content: str) -> None:
    (copied / RECORD_NAME).write_text(content)
    assert "cannot be read" in why_stock(copied)


def test_a_file_that_is_no_library_is_said_to_be_none(copied: Path) -> None:
    (copied / FILE_NAME).write_bytes(b"not a library")
    record = {"sources": sources.digest(), "sha256": hashlib.sha256(b"not a library").hexdigest()}
    (copied / RECORD_NAME).write_text(json.dumps(record))
    assert "cannot be loaded" in why_stock(copied)


def test_what_the_compiler_refuses_is_told_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "src"
    broken.mkdir()
    (broken / "one.cpp").write_text("int main( {\n")
    monkeypatch.setattr(sources, "FOLDER", broken)
    command = build.compiler()
    if command is None:
        pytest.skip("no C++ compiler here")
    with pytest.raises(build.BuildFailed, match=r"failed: .*one\.cpp"):
        build.build(command, tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(build.BuildFailed, match="The compiler /nowhere/c\\+\\+ cannot be run"):
        build.build(["/nowhere/c++"], tmp_path / "build")


def run_setup(tree: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("CXX", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, "-m", "service.engine.kernels"],
        cwd=tree,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def fresh_tree(tmp_path: Path) -> Path:
    """The service's sources, without a library."""
    shutil.copytree(ROOT / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__", "build"))
    return tmp_path


def test_without_a_compiler_setup_goes_on_and_says_how_to_get_one(fresh_tree: Path) -> None:
    (fresh_tree / "bin").mkdir()
    ended = run_setup(fresh_tree, str(fresh_tree / "bin"))
    assert ended.returncode == 0
    assert ended.stderr == ""
    (line,) = ended.stdout.splitlines()
    assert "no C++ compiler was found" in line
    assert "COMPILER=ziglang" in line


def test_setup_builds_once_and_again_what_is_damaged(fresh_tree: Path) -> None:
    if build.compiler() is None:
        pytest.skip("no C++ compiler here")
    small = fresh_tree / "service/engine/kernels/src"
    shutil.rmtree(small)
    small.mkdir()
    (small / "library.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) const char* instruction_sets() { return "one\\nOne\\n"; }'
    )
    first = run_setup(fresh_tree, os.environ["PATH"])
    assert first.returncode == 0
    assert first.stdout.startswith("Kernels: built in")
    assert first.stdout.endswith("One will be used.\n")
    assert run_setup(fresh_tree, os.environ["PATH"]).stdout == ""
    with (fresh_tree / "service/engine/kernels/build" / FILE_NAME).open("r+b") as file:
        file.write(b"damage")
    assert "Kernels: built in" in run_setup(fresh_tree, os.environ["PATH"]).stdout
