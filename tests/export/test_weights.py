"""How the weights are stored: quantised products, and each tensor once on disk."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor
from safetensors.torch import load_file, save_file
from transformers import BlenderbotConfig

from export.quantizer import WeightScheme
from export.tensors import LOGITS_BIAS, Weights
from export.weights import PAGE, Form, WeightFile
from tests.conftest import TINY, WIDE

STOCK = ("encoder_model.onnx", "decoder_model_merged.onnx")
FUSED = ("cross_states.onnx", "decoder_step.onnx")
GRAPHS = (*STOCK, *FUSED)
LAYER = "model.decoder.layers.0"
FC1, BIAS = f"{LAYER}.fc1.weight", f"{LAYER}.fc2.bias"
QKV = tuple(f"{LAYER}.self_attn.{kind}_proj.weight" for kind in "qkv")


@pytest.fixture
def weights(tiny_checkpoint: Path) -> Weights:
    """The tensors of the tiny checkpoint."""
    return Weights(tiny_checkpoint, BlenderbotConfig.from_pretrained(tiny_checkpoint))


@pytest.mark.parametrize(("precision", "bits"), [("int8", 8), ("int4", 4)])
@pytest.mark.parametrize("graph", GRAPHS)
def test_layers_multiply_in_int8_with_weights_of_the_bits_asked_for(
    wide_exports: dict[str, Path], precision: str, bits: int, graph: str
) -> None:
    products = [node for node in _quantised(wide_exports[precision] / graph) if not _is_projection(node)]
    assert len({node.input[1] for node in products}) >= WIDE.encoder_layers
    assert {_attribute(node, "bits") for node in products} == {bits}
    assert {_attribute(node, "accuracy_level") for node in products} == {4}


@pytest.mark.parametrize(("fixture", "bits"), [("tiny_export", {"fc2": 8}), ("tiny_int4_export", {"fc1": 8, "fc2": 4})])
@pytest.mark.parametrize("graph", ["encoder_model.onnx", "decoder_model_merged.onnx", "decoder_step.onnx"])
def test_a_narrow_model_keeps_attention_and_the_first_half_of_each_feed_forward_block_more_precise(
    request: pytest.FixtureRequest, fixture: str, bits: dict[str, int], graph: str
) -> None:
    folder = request.getfixturevalue(fixture)
    products = [node for node in _quantised(folder / graph) if not _is_projection(node)]
    found = {(layer, _attribute(node, "bits")) for node in products for layer in ("fc1", "fc2") if layer in node.name}
    assert found == set(bits.items())
    assert all("fc1" in node.name or "fc2" in node.name for node in products)


@pytest.mark.parametrize("fixture", ["tiny_export", "tiny_int4_export"])
@pytest.mark.parametrize("graph", ["decoder_model_merged.onnx", "decoder_step.onnx"])
def test_the_output_projection_has_8_bits_whatever_the_layers_have(
    request: pytest.FixtureRequest, fixture: str, graph: str
) -> None:
    projections = list(filter(_is_projection, _quantised(request.getfixturevalue(fixture) / graph)))
    assert projections
    assert {_attribute(node, "bits") for node in projections} == {8}
    assert {_attribute(node, "accuracy_level") for node in projections} == {4}


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_no_product_of_a_wide_model_with_a_constant_weight_stays_in_fp32(
    wide_exports: dict[str, Path], precision: str, graph: str
) -> None:
    model = _graph(wide_exports[precision] / graph)
    constants = {tensor.name for tensor in _tensors(model.graph)}
    products = [node for node in _nodes(model.graph) if node.op_type in {"MatMul", "Gemm"}]
    assert not [node.name for node in products if constants & set(node.input)]


def test_an_fp32_export_has_no_quantised_product(tiny_fp32_export: Path) -> None:
    assert not [node for graph in GRAPHS for node in _quantised(tiny_fp32_export / graph)]


def test_fewer_bits_make_a_smaller_weight_file(
    tiny_fp32_export: Path, tiny_export: Path, tiny_int4_export: Path
) -> None:
    sizes = [_weight_file(folder) for folder in (tiny_int4_export, tiny_export, tiny_fp32_export)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_encoder_and_decoder_share_one_embedding_on_disk(any_export: Path) -> None:
    embedding = TINY.vocab_size * TINY.d_model * 2
    places = [
        {(offset, length) for name, dims, offset, length in _external(any_export / graph) if dims == _EMBEDDING_SHAPE}
        for graph in STOCK
    ]
    assert [length for _, length in places[0]] == [embedding]
    assert places[0] == places[1]
    stored = sum(length for graph in GRAPHS for *_, length in set(_external(any_export / graph)))
    assert _weight_file(any_export) < stored


def test_no_graph_holds_what_grows_with_the_model(any_export: Path) -> None:
    """A graph of 2 GiB cannot be saved."""
    for graph in GRAPHS:
        held = [tensor for tensor in _tensors(_graph(any_export / graph).graph) if not tensor.external_data]
        assert all(math.prod(tensor.dims) < 10 for tensor in held)


def test_each_tensor_begins_at_a_page_unless_it_is_part_of_a_larger_one(any_export: Path) -> None:
    places = sorted({(offset, -length) for graph in GRAPHS for *_, offset, length in _external(any_export / graph)})
    end = 0
    for offset, length in places:
        assert offset % PAGE == 0 or offset - length <= end
        end = max(end, offset - length)


def test_a_tensor_is_written_once_and_every_initializer_refers_to_it(weights: Weights, tmp_path: Path) -> None:
    with (tmp_path / "weights.bin").open("xb") as file:
        weight_file = WeightFile(file, weights, WeightScheme(), lambda count: None)
        initializers = [weight_file.initializer([name], Form.VECTOR) for name in (FC1, BIAS, FC1)]
    assert _weight_file(tmp_path) == -(-weights.read(FC1).nbytes // PAGE) * PAGE + weights.read(BIAS).nbytes
    for name, initializer in zip((FC1, BIAS, FC1), initializers, strict=True):
        assert np.array_equal(numpy_helper.to_array(initializer, str(tmp_path)), weights.read(name).ravel())


@pytest.mark.parametrize("form", [Form.VECTOR, Form.PACKED, Form.SCALES])
def test_tensors_that_stand_end_to_end_are_found_one_by_one(weights: Weights, tmp_path: Path, form: Form) -> None:
    with (tmp_path / "weights.bin").open("xb") as file:
        weight_file = WeightFile(file, weights, WeightScheme(8, 8, 8, 8, block_size=16), lambda count: None)
        whole = numpy_helper.to_array(_read(weight_file.initializer(QKV, form), file, tmp_path))
        size = _weight_file(tmp_path)
        part = numpy_helper.to_array(_read(weight_file.initializer(QKV[1:2], form), file, tmp_path))
    assert _weight_file(tmp_path) == size
    rows = len(whole) // len(QKV)
    assert np.array_equal(part, whole[rows : 2 * rows])


def test_progress_counts_each_tensor_of_the_checkpoint_once(weights: Weights, tmp_path: Path) -> None:
    counted: list[int] = []
    with (tmp_path / "weights.bin").open("xb") as file:
        weight_file = WeightFile(file, weights, WeightScheme(8, 8, 8, 8), counted.append)
        for name in (*weights.shapes, *weights.shapes):
            weight_file.initializer([name], Form.VECTOR)
    assert sum(counted) == sum(weights.sizes.values())


def test_a_table_is_stored_in_half_precision_only_where_that_loses_nothing(weights: Weights, tmp_path: Path) -> None:
    table, matrix = "model.shared.weight", FC1
    weights.read = lambda name: _exact(name) * (1 if name == table else 1 + 2**-20)  # type: ignore[method-assign]
    _exact = Weights.read.__get__(weights)
    with (tmp_path / "weights.bin").open("xb") as file:
        weight_file = WeightFile(file, weights, WeightScheme(), lambda count: None)
        kinds = [weight_file.initializer([name], Form.TABLE).data_type for name in (table, matrix)]
    assert kinds == [onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT]


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model_merged.onnx", "decoder_step.onnx"])
def test_an_export_of_a_checkpoint_in_half_precision_holds_its_embeddings_so(tiny_export: Path, name: str) -> None:
    graph = _graph(tiny_export / name).graph
    tables = {node.input[0] for node in _nodes(graph) if node.op_type == "Gather"}
    kinds = [tensor.data_type for tensor in graph.initializer if tensor.name in tables and len(tensor.dims) == 2]
    assert kinds == [onnx.TensorProto.FLOAT16] * 2


_EMBEDDING_SHAPE = (TINY.vocab_size, TINY.d_model)


def _read(initializer: onnx.TensorProto, file: IO[bytes], folder: Path) -> onnx.TensorProto:
    """An initialiser with its values, although the weight file is still being written."""
    file.flush()
    load_external_data_for_tensor(initializer, str(folder))
    return initializer


def _graph(path: Path) -> onnx.ModelProto:
    return onnx.load(path, load_external_data=False)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _external(path: Path) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    """Name, shape, offset and length in bytes of each tensor in the weight file."""
    for tensor in _tensors(_graph(path).graph):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place:
            assert place["location"] == "weights.bin"
            yield tensor.name, tuple(tensor.dims), int(place["offset"]), int(place["length"])


def _quantised(path: Path) -> list[onnx.NodeProto]:
    return [node for node in _nodes(_graph(path).graph) if node.op_type == "MatMulNBits"]


def _is_projection(node: onnx.NodeProto) -> bool:
    return _attribute(node, "N") == TINY.vocab_size


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == name)


def _weight_file(folder: Path) -> int:
    return (folder / "weights.bin").stat().st_size


def test_only_pages_of_the_checkpoint_are_given_back(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = load_file(tiny_checkpoint / "model.safetensors")
    assert stored.pop(LOGITS_BIAS, None) is not None
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    weights = Weights(tmp_path, BlenderbotConfig.from_pretrained(tiny_checkpoint))
    ranges: list[tuple[int, int]] = []

    class Library:
        def __init__(self, _name: None) -> None: ...

        def madvise(self, begin: ctypes.c_void_p, length: ctypes.c_size_t, _advice: int) -> None:
            assert begin.value
            ranges.append((begin.value, begin.value + length.value))

    monkeypatch.setattr(ctypes, "CDLL", Library)
    for name in weights.shapes:
        weights.read(name)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    mapped = [tuple(int(end, 16) for end in line[0].split("-")) for line in maps]
    assert ranges
    for begin, end in ranges:
        assert any(first <= begin and end <= last for first, last in mapped)
        assert begin % mmap.PAGESIZE == end % mmap.PAGESIZE == 0
