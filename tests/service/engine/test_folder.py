"""What the engine needs of a folder, and what it says of one that lacks it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
import torch

from models.folder import ModelFolderError
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.parity import stock_model

GRAPHS = ("encoder_model.onnx", "cross_states.onnx", "decoder_step.onnx")


@pytest.fixture
def folder(int8_export: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(int8_export, tmp_path / "model")


def refusal(folder: Path) -> str:
    """The sentence that a load ends with."""
    with pytest.raises(ModelFolderError) as caught:
        ORTBlenderbotForConditionalGeneration.from_pretrained(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 500
    return sentence


@pytest.mark.parametrize("name", GRAPHS)
def test_a_missing_graph_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder / name} is missing; export the model again")


@pytest.mark.parametrize(("name", "operator"), [(GRAPHS[2], "MultiHeadAttention"), (GRAPHS[1], "Transpose")])
def test_an_operator_that_this_onnx_runtime_lacks_is_refused_when_the_model_loads(
    folder: Path, name: str, operator: str
) -> None:
    model = onnx.load(folder / name, load_external_data=False)
    next(node for node in model.graph.node if node.op_type == operator).op_type = "AttentionOfTheFuture"
    (folder / name).write_bytes(model.SerializeToString())
    sentence = refusal(folder)
    assert sentence.startswith(f"{folder / name} cannot be loaded by this ONNX Runtime")
    assert "AttentionOfTheFuture" in sentence
    assert "install the versions in requirements.txt" in sentence


@pytest.mark.parametrize("name", GRAPHS)
def test_a_damaged_graph_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"not a graph")
    assert str(folder / name) in refusal(folder)


def test_a_decoder_of_another_version_of_the_exporter_is_refused(folder: Path) -> None:
    path = folder / "decoder_step.onnx"
    model = onnx.load(path, load_external_data=False)
    next(argument for argument in model.graph.input if argument.name == "places").name = "slot"
    for node in model.graph.node:
        node.input[:] = ["slot" if name == "places" else name for name in node.input]
    path.write_bytes(model.SerializeToString())
    assert "written by another version of the exporter; export the model again" in refusal(folder)


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_weight_file_that_is_cut_short_is_refused(folder: Path, kept: float) -> None:
    weights = folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[: int(kept * weights.stat().st_size)])
    assert "cannot be loaded" in refusal(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "weights.bin").unlink()
    assert "cannot be loaded" in refusal(folder)


def test_what_is_no_exported_model_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "is not an exported model" in refusal(tmp_path / "nowhere")
    for content in ("{", "{}", '{"model_type": "unheard of"}'):
        (folder / "config.json").write_text(content, encoding="utf-8")
        assert "is not an exported model" in refusal(folder)


def test_the_stock_class_and_ours_load_the_same_folder_and_agree(int8_export: Path) -> None:
    ids = torch.tensor([[9, 17, 30, 41, 2]])
    stock = stock_model(int8_export).generate(ids, num_beams=2, max_length=6, min_length=0)
    ours = ORTBlenderbotForConditionalGeneration.from_pretrained(int8_export).generate(
        ids, num_beams=2, max_length=6, min_length=0
    )
    assert stock.tolist() == ours.tolist()
