"""Graphs of an exported folder with their nodes exchanged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.engine.kernels.rewrite import DOMAIN, exchange, rewritten

STEP = "decoder_step.onnx"


def operators(graph: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def test_a_wide_decoder_step_becomes_products_attention_and_little_else(wide_exports: dict[str, Path]) -> None:
    for folder in wide_exports.values():
        before = onnx.load(folder / STEP, load_external_data=False)
        layers = sum(node.op_type == "ScatterND" for node in before.graph.node) // 2
        after = operators(rewritten(folder / STEP, "avx2", "weights.bin"))
        assert after["Linear"] == 6 * layers + 1
        assert after["SelfAttention"] == after["CrossAttention"] == layers
        ours = {"Linear", "SelfAttention", "CrossAttention"}
        assert set(after) - ours <= {"Gather", "Cast", "Mul", "Add", "LogSoftmax"}


def test_a_narrow_step_with_plain_matrices_does_too(int8_export: Path) -> None:
    after = operators(rewritten(int8_export / STEP, "avx2", "weights.bin"))
    assert not set(after) & {"MatMul", "MatMulNBits", "SkipLayerNormalization", "BiasGelu", "ScatterND"}


@pytest.mark.parametrize("name", ["encoder_model.onnx", "cross_states.onnx", STEP])
def test_inputs_outputs_and_where_weights_lie_stay(int8_export: Path, name: str) -> None:
    before = onnx.load(int8_export / name, load_external_data=False)
    after = onnx.load_from_string(rewritten(int8_export / name, "avx2", "weights.bin"))
    assert before.graph.input == after.graph.input
    assert before.graph.output == after.graph.output
    kept = {tensor.name: tensor for tensor in before.graph.initializer}
    assert all(tensor == kept[tensor.name] for tensor in after.graph.initializer)
    read = {value for node in after.graph.node for value in node.input}
    assert {tensor.name for tensor in after.graph.initializer} <= read
    for node in after.graph.node:
        if node.domain == DOMAIN:
            attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            assert attributes["kernels"] == b"avx2"


def test_a_product_whose_result_is_read_twice_keeps_its_bias_and_norm_apart() -> None:
    arrays = {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)}
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "b", "b"], ["n"], epsilon=1e-5),
        helper.make_node("MatMul", ["n", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Mul", ["p", "n"], ["r"]),
        helper.make_node("Add", ["q", "r"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], weights))
    exchange(model, "avx2")
    assert [node.op_type for node in model.graph.node] == ["LayerNormalization", "Linear", "Add", "Mul", "Add"]
    assert list(model.graph.node[1].input) == ["n", "w", "", "", "", "", ""]
