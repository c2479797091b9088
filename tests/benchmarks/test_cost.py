from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import Cache
from benchmarks.commands.export_cost import cost
from benchmarks.models import named_checkpoint


def test_every_measurement_makes_the_folder_anew(tiny_checkpoint: Path, tmp_path: Path) -> None:
    cache, checkpoint = Cache(tmp_path), named_checkpoint(str(tiny_checkpoint))
    stale = tmp_path / "models" / "tiny-int8"
    stale.mkdir(parents=True)
    (stale / "left-over").write_text("")
    found = cost("ours-int8", checkpoint, cache)
    assert found["seconds"] > 0.5
    assert found["peak_bytes"] > 100_000_000
    size = sum(path.stat().st_size for path in stale.iterdir())
    assert found["size_bytes"] == size
    assert not (stale / "left-over").exists()
    assert "fused step" in found["title"]


def test_way_that_fails_is_told(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.machine.available_memory", lambda: 2_000_000)
    found = cost("stock-dynamic-int8", named_checkpoint(str(tiny_checkpoint)), Cache(tmp_path))
    assert found["reason"].startswith("The conversion needs")
