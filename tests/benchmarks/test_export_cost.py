from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import Cache
from benchmarks.checkpoints import named_checkpoint
from benchmarks.export_cost import cost
from benchmarks.session import Session


def test_every_measurement_makes_the_folder_anew(tiny_checkpoint: Path, tmp_path: Path) -> None:
    session, checkpoint = Session(cache=Cache(tmp_path)), named_checkpoint(str(tiny_checkpoint))
    stale = tmp_path / "models" / "tiny-int8"
    stale.mkdir(parents=True)
    (stale / "left-over").write_text("")
    row = cost("ours-int8", checkpoint, session)
    assert row is not None
    assert row.seconds > 0.5
    assert row.peak_bytes > 100_000_000
    assert row.size_bytes == sum(path.stat().st_size for path in stale.iterdir())
    assert not (stale / "left-over").exists()


def test_way_that_fails_is_missing(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.machine.available_memory", lambda: 2_000_000)
    session = Session(cache=Cache(tmp_path))
    assert cost("stock-dynamic-int8", named_checkpoint(str(tiny_checkpoint)), session) is None
    assert session.missing["stock-dynamic-int8"].startswith("The conversion needs")
