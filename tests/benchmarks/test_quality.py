from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.results import Results
from benchmarks.schema import Quality
from models.folder import DEMO_CHECKPOINT
from models.synthetic import Shape, write_checkpoint
from tests.benchmarks import samples
from tests.export_child import exported


def test_an_export_is_compared_with_its_checkpoint_on_held_out_dialogues(tmp_path: Path) -> None:
    checkpoint = tmp_path / "talker"
    tokens = json.loads((DEMO_CHECKPOINT / "config.json").read_text())["vocab_size"]
    write_checkpoint(checkpoint, shape=Shape(tokens, d_model=32, encoder_layers=1, decoder_layers=2, heads=2, ffn=32))
    for path in DEMO_CHECKPOINT.glob("*token*"):
        shutil.copyfile(path, checkpoint / path.name)
    folder = exported(checkpoint, tmp_path / "talker-fp32", "none")
    rows = quality.compare(checkpoint, [folder], samples=6, whole=2)
    (row,) = rows
    assert row.exported == "talker-fp32"
    assert row.perplexity_ratio == pytest.approx(1, abs=1e-4)
    assert row.top1_agreement == 1
    assert 0 <= row.mean_divergence < 1e-6
    assert (row.replies, row.exact_match) == (2, 1)
    settings = {"checkpoint": "talker", "random_weights": True, "samples": 6}
    part = Quality(**samples.head(), settings=settings, results=rows)
    page = " ".join(" ".join(quality.section(Results(tmp_path, {"quality": part}))).split())
    assert "tokens of 6 held-out replies" in page
    assert "random weights: numeric fidelity only" in page
