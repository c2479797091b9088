from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.cache import Cache
from benchmarks.checkpoints import named_checkpoint
from benchmarks.errors import BenchmarkError
from benchmarks.export_cost import cost, shape_cost
from benchmarks.schema import ShapeCost


def test_every_measurement_makes_the_folder_anew(tiny_checkpoint: Path, tmp_path: Path) -> None:
    cache, checkpoint = Cache(tmp_path), named_checkpoint(str(tiny_checkpoint))
    stale = tmp_path / "models" / "tiny-int8"
    stale.mkdir(parents=True)
    (stale / "left-over").write_text("")
    fields = cost("ours-int8", checkpoint, cache)
    assert fields["seconds"] > 0.5
    assert fields["peak_bytes"] > 100_000_000
    assert fields["size_bytes"] == sum(path.stat().st_size for path in stale.iterdir())
    assert not (stale / "left-over").exists()
    assert "fused step" in fields["title"]


def test_way_that_fails_is_told(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.machine.available_memory", lambda: 2_000_000)
    fields = cost("stock-dynamic-int8", named_checkpoint(str(tiny_checkpoint)), Cache(tmp_path))
    assert fields["reason"].startswith("The conversion needs")


def test_export_and_replies_of_a_checkpoint_are_measured(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny"))
    shape = ShapeCost(**shape_cost(checkpoint, "int8"))
    assert (shape.checkpoint, shape.precision) == ("tiny", "int8")
    assert all(value > 0 for value in shape.model_dump().values() if not isinstance(value, str))
    assert shape.export_peak_bytes > 10 * shape.size_bytes
    assert shape.greedy_s < shape.beam10_s < shape.export_s
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_an_export_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"config\.json"):
        shape_cost(tmp_path, "int8")
