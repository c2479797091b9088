"""The comparison with torch that ends an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.export_child import refusal, run_export

COMPARED = [("stock", 1, 3), ("stock", 10, 3), ("fused", 1, 3), ("fused", 10, 3)]
WRONG_STOCK_DECODER = """
import export.converter
convert = export.converter.convert
def planted(model, folder):
    model.model.decoder.layer_norm.weight.data.mul_(-1)
    convert(model, folder)
export.converter.convert = planted
"""
WRONG_FUSED_DECODER = """
import export.exporter
build = export.exporter.FUSED_GRAPHS["decoder_step.onnx"]
def planted(model, scheme):
    model.model.decoder.layer_norm.weight.data.mul_(-1)
    graph = build(model, scheme)
    model.model.decoder.layer_norm.weight.data.mul_(-1)
    return graph
export.exporter.FUSED_GRAPHS["decoder_step.onnx"] = planted
"""
OTHER_CHECKPOINT = """
import pathlib, shutil
import export.converter
convert = export.converter.convert
def planted(model, folder):
    convert(model, folder)
    shutil.copy({source!r}, {changed!r})
export.converter.convert = planted
"""
BROKEN_GRAPH = """
import export.exporter
assemble = export.exporter._assemble
def planted(work, finished, *rest):
    assemble(work, finished, *rest)
    (finished / "encoder_model.onnx").write_bytes(b"no graph")
export.exporter._assemble = planted
"""


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_agreement_is_shown_and_kept_in_the_manifest(tiny_checkpoint: Path, target: Path, quantization: str) -> None:
    finished = run_export("--model", tiny_checkpoint, "--quantization", quantization, "--output-dir", target)
    assert (finished.returncode, finished.stderr) == (0, "")
    measured = json.loads((target / "manifest.json").read_text())["verification"]
    assert [(entry["decoder"], entry["beams"], entry["compared"]) for entry in measured["replies"]] == COMPARED
    for entry in measured["replies"]:
        shown = f"{entry['decoder']} at beam {entry['beams']}: {entry['equal']} of 3 replies equal"
        assert shown in finished.stdout
    if quantization == "none":
        assert [entry["equal"] for entry in measured["replies"]] == [3, 3, 3, 3]
        assert measured["largest_gap"] == 0.0


@pytest.mark.parametrize(
    ("planted", "decoder"),
    [(WRONG_STOCK_DECODER, "stock"), (WRONG_FUSED_DECODER, "fused")],
    ids=["stock", "fused"],
)
def test_an_export_whose_decoder_says_something_else_is_thrown_away(
    tiny_checkpoint: Path, target: Path, planted: str, decoder: str
) -> None:
    finished = run_export(
        *("--model", tiny_checkpoint, "--quantization", "none", "--output-dir", target), planted=planted
    )
    message = refusal(finished)
    assert "answers differently from the checkpoint" in message
    assert f"{decoder} at beam 10: 0 of 3 replies equal" in message
    assert not target.parent.exists()


def test_a_checkpoint_that_changes_while_it_is_converted_is_noticed(
    checkpoint: Path, other_checkpoint: Path, target: Path
) -> None:
    name = "model.safetensors"
    planted = OTHER_CHECKPOINT.format(source=str(other_checkpoint / name), changed=str(checkpoint / name))
    message = refusal(
        run_export("--model", checkpoint, "--quantization", "none", "--output-dir", target, planted=planted)
    )
    assert "answers differently from the checkpoint" in message
    assert not target.parent.exists()


def test_an_export_that_does_not_run_is_thrown_away(tiny_checkpoint: Path, target: Path) -> None:
    finished = run_export("--model", tiny_checkpoint, "--output-dir", target, planted=BROKEN_GRAPH)
    assert "The exported model cannot be run" in refusal(finished)
    assert not target.parent.exists()
