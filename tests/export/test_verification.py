"""The comparison with torch that ends an export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.parity import TIE_TOLERANCE
from models.synthetic import write_checkpoint
from tests.conftest import TINY
from tests.export_child import ROOT, exported, refusal, run_export

DECODERS = ("stock class", "ours")
WAYS = [f"{decoder}, beam width {beams}" for beams in (1, 10) for decoder in DECODERS]
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
    assert measured == {"compared": 3, "equal": dict.fromkeys(WAYS, 3), "largest_gap": 0.0}
    told = "; ".join(f"{way}: 3 of 3" for way in WAYS)
    assert f"Replies that torch in fp32, choosing freely, gives too: {told}\n" in finished.stdout


def test_a_model_with_fewer_positions_than_the_comparison_takes_is_compared(tmp_path: Path, target: Path) -> None:
    checkpoint = tmp_path / "short"
    write_checkpoint(checkpoint, shape=replace(TINY, positions=8))
    settings = json.loads((checkpoint / "generation_config.json").read_text())
    (checkpoint / "generation_config.json").write_text(json.dumps(settings | {"min_length": None, "max_length": 8}))
    exported(checkpoint, target, "none", "--verify")
    measured = json.loads((target / "manifest.json").read_text())["verification"]
    assert measured["equal"] == dict.fromkeys(WAYS, 3)


def test_an_export_whose_decoder_says_something_else_is_thrown_away(tiny_checkpoint: Path, target: Path) -> None:
    message = refusal(
        run_export(
            *("--model", tiny_checkpoint, "--quantization", "none", "--output-dir", target), planted=WRONG_FUSED_DECODER
        )
    )
    assert "answers differently from the checkpoint" in message
    assert "stock class, beam width 10: 3 of 3" in message
    assert "ours, beam width 10: 0 of 3" in message
    assert not target.parent.exists()


def test_a_checkpoint_that_is_not_the_one_exported_is_noticed(other_checkpoint: Path, tiny_fp32_export: Path) -> None:
    measured = _measured(other_checkpoint, tiny_fp32_export, "none")
    assert measured["equal"] == dict.fromkeys(WAYS, 0)
    assert measured["largest_gap"] > TIE_TOLERANCE


def test_torch_is_free_to_say_what_the_export_never_considers(
    tiny_checkpoint: Path, tiny_fp32_export: Path, tmp_path: Path
) -> None:
    greedy, widest = _torch_says(tiny_checkpoint, 1), _torch_says(tiny_checkpoint, 10)
    token = min(widest - greedy - {2})
    silenced = _with_bias(tiny_fp32_export, tmp_path / "silenced", token, -100.0)
    measured = _measured(tiny_checkpoint, silenced, "none")
    assert [measured["equal"][f"{decoder}, beam width 1"] for decoder in DECODERS] == [3, 3]
    assert all(measured["equal"][f"{decoder}, beam width 10"] < 3 for decoder in DECODERS)
    assert measured["largest_gap"] > TIE_TOLERANCE


def test_of_two_tokens_that_torch_can_hardly_tell_apart_either_may_be_said(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    said, twin = min(_torch_says(checkpoint, 1) - {1, 2}), 299
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["model.shared.weight"][twin] = tensors["model.shared.weight"][said]
    folder: Path | None = None
    for preference, is_tie in ((1e-6, True), (1e-2, False)):
        tensors["final_logits_bias"][0, twin] = tensors["final_logits_bias"][0, said] - preference
        save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
        folder = folder or _with_bias(exported(checkpoint, tmp_path / "same", "none"), tmp_path / "other", twin, 1e-3)
        measured = _measured(checkpoint, folder, "none")
        assert measured["equal"]["stock class, beam width 1"] < 3
        assert (measured["largest_gap"] < TIE_TOLERANCE) == is_tie


def test_the_agreement_of_a_quantised_export_is_measured(tiny_checkpoint: Path, tiny_export: Path) -> None:
    measured = _measured(tiny_checkpoint, tiny_export, "int8")
    assert list(measured["equal"]) == WAYS
    assert 0 < sum(measured["equal"].values()) <= 12
    assert measured["largest_gap"] is None


def test_torch_agrees_with_no_quantised_export_of_another_checkpoint(other_checkpoint: Path, tiny_export: Path) -> None:
    assert _measured(other_checkpoint, tiny_export, "int8")["equal"] == dict.fromkeys(WAYS, 0)


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


def _measured(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "export.verify", str(checkpoint), str(folder), quantization]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(child.stdout)
    return measured


def _torch_says(checkpoint: Path, beams: int) -> set[int]:
    """All tokens of the replies that torch writes to the prompts of the comparison."""
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    from export.verify import NEW_TOKENS, PROMPTS

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float()
    settings = {"num_beams": beams, "min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS}
    sources = (tokenizer(prompt, return_tensors="pt").input_ids for prompt in PROMPTS)
    return {token for source in sources for token in model.generate(source, **settings)[0].tolist()}


def _with_bias(folder: Path, target: Path, token: int, change: float) -> Path:
    """A copy of an export that is more or less inclined to a token, in all its graphs."""
    import numpy as np
    import onnx

    shutil.copytree(folder, target)
    graph = onnx.load(target / "decoder_step.onnx", load_external_data=False).graph
    (bias,) = (initializer for initializer in graph.initializer if initializer.name == "final_logits_bias.vector")
    offset = next(int(entry.value) for entry in bias.external_data if entry.key == "offset")
    np.memmap(target / "weights.bin", np.float32, "r+", offset, tuple(bias.dims))[token] += change
    return target
