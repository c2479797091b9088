"""How the weights are stored: quantised products, and each tensor once on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.weights import PAGE, WeightFile
from tests.conftest import TINY, WIDE

STOCK = ("encoder_model.onnx", "decoder_model_merged.onnx")
FUSED = ("cross_states.onnx", "decoder_step.onnx")
GRAPHS = (*STOCK, *FUSED)


@pytest.mark.parametrize(("precision", "bits"), [("int8", 8), ("int4", 4)])
@pytest.mark.parametrize("graph", GRAPHS)
def test_layers_multiply_in_int8_with_weights_of_the_bits_asked_for(
    wide_exports: dict[str, Path], precision: str, bits: int, graph: str
) -> None:
    products = [node for node in _quantised(wide_exports[precision] / graph) if not _is_projection(node)]
    assert len({node.input[1] for node in products}) >= WIDE.encoder_layers
    assert {_attribute(node, "bits") for node in products} == {bits}
    assert {_attribute(node, "accuracy_level") for node in products} == {4}


@pytest.mark.parametrize(("fixture", "bits"), [("tiny_export", {8}), ("tiny_int4_export", {4, 8})])
@pytest.mark.parametrize("graph", ["encoder_model.onnx", "decoder_model_merged.onnx", "decoder_step.onnx"])
def test_a_narrow_model_keeps_attention_in_fp32_and_half_of_each_feed_forward_block_in_8_bits(
    request: pytest.FixtureRequest, fixture: str, bits: set[int], graph: str
) -> None:
    folder = request.getfixturevalue(fixture)
    products = [node for node in _quantised(folder / graph) if not _is_projection(node)]
    assert {_attribute(node, "bits") for node in products} == bits
    assert all("fc1" in node.name or "fc2" in node.name for node in products)
    assert all(_attribute(node, "bits") == 8 for node in products if "fc1" in node.name)


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


def test_each_tensor_begins_at_a_page_unless_it_is_part_of_a_larger_one(any_export: Path) -> None:
    places = sorted({(offset, -length) for graph in GRAPHS for *_, offset, length in _external(any_export / graph)})
    end = 0
    for offset, length in places:
        assert offset % PAGE == 0 or offset - length <= end
        end = max(end, offset - length)


def test_equal_tensors_are_stored_once_and_small_ones_stay_in_the_graph(tmp_path: Path) -> None:
    large, small = np.arange(1024, dtype=np.float32), np.arange(4, dtype=np.float32)
    with WeightFile(tmp_path) as weights:
        weights.save(_model({"a": large, "b": large.copy(), "c": small, "d": large + 1}), "first.onnx")
        weights.save(_model({"e": large}), "second.onnx")
    assert _weight_file(tmp_path) == 2 * large.nbytes
    first, second = onnx.load(tmp_path / "first.onnx"), onnx.load(tmp_path / "second.onnx")
    found = {t.name: numpy_helper.to_array(t) for model in (first, second) for t in model.graph.initializer}
    expected = {"a": large, "b": large, "c": small, "d": large + 1, "e": large}
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert {name for name, *_ in _external(tmp_path / "first.onnx")} == {"a", "b", "d"}


def test_a_part_of_a_stacked_matrix_is_found_inside_it(tmp_path: Path) -> None:
    stacked = np.arange(4 * 512, dtype=np.float32).reshape(4, 512)
    with WeightFile(tmp_path) as weights:
        weights.save(_model({"qkv": stacked}), "fused.onnx", {"qkv": [1, 2, 1]})
        weights.save(_model({"k": stacked[1:3].copy()}), "stock.onnx")
    assert _weight_file(tmp_path) == stacked.nbytes
    assert [place[2:] for place in _external(tmp_path / "stock.onnx")] == [(2048, 4096)]
    (found,) = onnx.load(tmp_path / "stock.onnx").graph.initializer
    assert np.array_equal(numpy_helper.to_array(found), stacked[1:3])


def test_a_weight_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"earlier")
    with pytest.raises(FileExistsError):
        WeightFile(tmp_path)
    assert (tmp_path / "weights.bin").read_bytes() == b"earlier"


_EMBEDDING_SHAPE = (TINY.vocab_size, TINY.d_model)


def _model(tensors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    output = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    nodes = [helper.make_node("Identity", [initializers[0].name], ["out"])]
    return helper.make_model(helper.make_graph(nodes, "graph", [], [output], initializers))


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
