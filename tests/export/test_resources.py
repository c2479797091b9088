"""Too little disk or memory: said before the work begins, or in one sentence when it runs out on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from export import resources
from export.errors import ExportError
from export.quantizer import scheme_for
from tests.export_child import refusal, run_export

SHAPES = {"model.decoder.layers.0.fc1.weight": (100_000, 4_000)}
INT8, FP32 = (scheme_for(precision, 4_000) for precision in ("int8", "none"))


class Usage(NamedTuple):
    """Bytes, as `shutil.disk_usage` gives them back."""

    total: int
    used: int
    free: int


SKIP_PREFLIGHT = "import export.exporter; export.exporter.resources.check = lambda *_: None"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with the options given, such as `size=4m`."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a file system is not allowed here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a terabyte of disk and of memory."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**12))
    monkeypatch.setattr(resources, "available_memory", lambda: 10**12)


@pytest.mark.usefixtures("plenty")
def test_enough_of_both_is_accepted(tmp_path: Path) -> None:
    resources.check(SHAPES, INT8, tmp_path / "a" / "b" / "tiny")


@pytest.mark.usefixtures("plenty")
def test_too_little_disk_is_reported_with_what_is_needed_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def usage(path: Path) -> Usage:
        measured.append(path)
        return Usage(10**12, 10**12 - 250_000_000, 250_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(ExportError, match=r"needs 436 MB of free disk .* 250 MB are available"):
        resources.check(SHAPES, INT8, tmp_path / "a" / "b" / "tiny")
    assert measured == [tmp_path]


@pytest.mark.usefixtures("plenty")
def test_an_fp32_export_needs_more_disk_than_a_quantised_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 1_000_000_000))
    resources.check(SHAPES, INT8, tmp_path / "tiny")
    with pytest.raises(ExportError):
        resources.check(SHAPES, FP32, tmp_path / "tiny")


@pytest.mark.usefixtures("plenty")
def test_too_little_memory_is_reported_with_what_is_needed_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 2_500_000_000)
    with pytest.raises(ExportError, match=r"needs \d+,\d{3} MB of memory, and 2,500 MB are available"):
        resources.check(SHAPES, INT8, tmp_path / "tiny")


def test_an_export_without_memory_is_refused_and_writes_nothing(tiny_checkpoint: Path, target: Path) -> None:
    planted = "import export.resources; export.resources.available_memory = lambda: 1000"
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", target, planted=planted))
    assert "of memory" in message
    assert not target.parent.exists()


def test_an_export_without_disk_is_refused_before_it_begins(
    tiny_checkpoint: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=4m")
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", disk / "tiny"))
    assert "of free disk" in message
    assert str(disk) in message
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("size", ["1m", "4m"])
def test_a_disk_that_fills_up_on_the_way_is_one_sentence_and_leaves_nothing(
    tiny_checkpoint: Path, small_disk: Callable[[str], Path], size: str
) -> None:
    disk = small_disk(f"size={size}")
    finished = run_export(
        *("--model", tiny_checkpoint, "--output-dir", disk / "tiny", "--quantization", "none", "--no-verify"),
        planted=SKIP_PREFLIGHT,
    )
    assert "No space left on device" in refusal(finished)
    assert list(disk.iterdir()) == []


def test_a_disk_that_is_read_only_is_named(tiny_checkpoint: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=64m,ro")
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", disk / "a" / "tiny"))
    assert f"{disk} cannot be written to" in message
