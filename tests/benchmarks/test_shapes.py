"""What a checkpoint takes: its export and replies, measured."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.commands.shapes import table
from benchmarks.errors import BenchmarkError
from benchmarks.shapes import measure


def test_export_and_replies_of_a_checkpoint_are_measured(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny"))
    cost = measure(checkpoint, "int8")
    assert all(value > 0 for name, value in asdict(cost).items() if name != "precision")
    assert cost.export_peak_bytes > 10 * cost.size_bytes
    assert cost.greedy_s < cost.beam10_s < cost.export_s
    assert list(tmp_path.iterdir()) == [checkpoint]
    lines = table([{"checkpoint": "tiny", **asdict(cost)}])
    assert lines[-1].startswith("| tiny | int8 | 3 MB | ")


def test_an_export_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"config\.json"):
        measure(tmp_path, "int8")
