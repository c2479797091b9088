"""The comparison with torch that ends an export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from export.parity import TIE_TOLERANCE
from tests.export_child import ROOT, refusal, run_export

COMPARED = [("stock", 1, 3), ("stock", 10, 3), ("fused", 1, 3), ("fused", 10, 3)]
WRONG_FUSED_DECODER = """
import export.exporter
build = export.exporter.FUSED_GRAPHS["decoder_step.onnx"]
def planted(config, builder):
    weight, last = builder.weight, "model.decoder.layer_norm"
    builder.weight = lambda tensors, *form: weight(f"{last}.bias" if tensors == f"{last}.weight" else tensors, *form)
    return build(config, builder)
export.exporter.FUSED_GRAPHS["decoder_step.onnx"] = planted
"""
BROKEN_GRAPH = """
import export.settings
save = export.settings.Settings.save
def planted(settings, folder):
    save(settings, folder)
    (folder / "encoder_model.onnx").write_bytes(b"no graph")
export.settings.Settings.save = planted
"""
LITTLE_MEMORY = "import export.exporter; export.exporter.available_memory = lambda: 10**6"


def test_agreement_is_shown_and_kept_in_the_manifest(tiny_checkpoint: Path, target: Path) -> None:
    finished = run_export("--model", tiny_checkpoint, "--quantization", "none", "--output-dir", target)
    assert (finished.returncode, finished.stderr) == (0, "")
    measured = json.loads((target / "manifest.json").read_text())["verification"]
    assert [(entry["decoder"], entry["beams"], entry["compared"]) for entry in measured["replies"]] == COMPARED
    assert [entry["equal"] for entry in measured["replies"]] == [3, 3, 3, 3]
    assert measured["largest_gap"] == 0.0
    for decoder, beams, compared in COMPARED:
        assert f"{decoder} at beam {beams}: {compared} of {compared} replies equal" in finished.stdout


def test_an_export_whose_decoder_says_something_else_is_thrown_away(tiny_checkpoint: Path, target: Path) -> None:
    message = refusal(
        run_export(
            *("--model", tiny_checkpoint, "--quantization", "none", "--output-dir", target), planted=WRONG_FUSED_DECODER
        )
    )
    assert "answers differently from the checkpoint" in message
    assert "stock at beam 10: 3 of 3 replies equal" in message
    assert "fused at beam 10: 0 of 3 replies equal" in message
    assert not target.parent.exists()


def test_a_checkpoint_that_is_not_the_one_exported_is_noticed(other_checkpoint: Path, tiny_fp32_export: Path) -> None:
    measured = _measured(other_checkpoint, tiny_fp32_export)
    assert [entry["equal"] for entry in measured["replies"]] == [0, 0, 0, 0]
    assert measured["largest_gap"] > TIE_TOLERANCE


def test_the_agreement_of_a_quantised_export_is_measured(tiny_checkpoint: Path, tiny_export: Path) -> None:
    measured = _measured(tiny_checkpoint, tiny_export)
    assert [(entry["decoder"], entry["beams"], entry["compared"]) for entry in measured["replies"]] == COMPARED
    assert all(0 <= entry["equal"] <= 3 for entry in measured["replies"])


def test_an_export_is_not_refused_for_the_memory_of_its_comparison_with_torch(
    tiny_checkpoint: Path, target: Path
) -> None:
    finished = run_export("--model", tiny_checkpoint, "--output-dir", target, planted=LITTLE_MEMORY)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Not compared with torch: that takes 0.9 GB and 0.0 GB are available." in finished.stdout
    assert json.loads((target / "manifest.json").read_text())["verification"] == {}


def test_an_export_that_does_not_run_is_thrown_away(tiny_checkpoint: Path, target: Path) -> None:
    finished = run_export("--model", tiny_checkpoint, "--output-dir", target, planted=BROKEN_GRAPH)
    assert "The exported model cannot be run" in refusal(finished)
    assert not target.parent.exists()


def _measured(checkpoint: Path, exported: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "export.verify", str(checkpoint), str(exported)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(child.stdout)
    return measured
