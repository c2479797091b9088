"""Tables that tokens are looked up in are stored in half precision where that loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from export.tables import halve

EXACT = np.array([[0.5, -1.25], [3.0, 0.0], [2.0**-20, 65504.0]], np.float32)
GRAPHS = ("encoder_model.onnx", "decoder_model_merged.onnx", "decoder_step.onnx")


def lookup(table: np.ndarray, *more: onnx.NodeProto) -> onnx.ModelProto:
    """A graph that looks rows up in a table, in a branch, with further nodes outside of it."""
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 2])
    branch = helper.make_graph([helper.make_node("Gather", ["table", "ids"], ["rows"])], "branch", [], [rows])
    condition = numpy_helper.from_array(np.array(True), "condition")
    node = helper.make_node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [None])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(
        [*more, node], "lookup", [ids], [out], [condition, numpy_helper.from_array(table, "table")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def stored(model: onnx.ModelProto) -> int:
    (kind,) = {tensor.data_type for tensor in model.graph.initializer if tensor.name == "table"}
    return int(kind)


def test_a_table_that_loses_nothing_is_halved_and_gives_the_same_rows() -> None:
    model = lookup(EXACT)
    halve(model)
    assert stored(model) == TensorProto.FLOAT16
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"ids": np.array([2, 0])})
    assert rows.dtype == np.float32
    assert (rows == EXACT[[2, 0]]).all()


@pytest.mark.parametrize("value", [0.1, 65536.0, 1e-12, np.nan])
def test_a_table_with_a_value_that_half_precision_lacks_is_left_alone(value: float) -> None:
    table = EXACT.copy()
    table[1, 1] = value
    model = lookup(table)
    before = model.SerializeToString()
    halve(model)
    assert model.SerializeToString() == before


def test_a_tensor_that_is_multiplied_too_is_left_alone() -> None:
    model = lookup(EXACT, helper.make_node("Mul", ["table", "table"], ["unused"]))
    halve(model)
    assert stored(model) == TensorProto.FLOAT


@pytest.mark.parametrize("name", GRAPHS)
def test_an_export_of_a_checkpoint_in_half_precision_holds_its_embeddings_so(tiny_export: Path, name: str) -> None:
    graph = onnx.load(tiny_export / name, load_external_data=False).graph
    tables = {node.input[0] for node in _nodes(graph) if node.op_type == "Gather"}
    kinds = [tensor.data_type for tensor in graph.initializer if tensor.name in tables and len(tensor.dims) == 2]
    assert kinds == [TensorProto.FLOAT16] * 2


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
