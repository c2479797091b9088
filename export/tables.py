"""Tables that tokens are looked up in, stored in half precision where that loses nothing.

A look-up touches few rows, and those are cast back, so that half of the file and of the mapped pages is saved for no
time. Checkpoints published in half precision, as those on the Hub are, have only such values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def halve(model: onnx.ModelProto) -> None:
    """Store in float16, in place, each float32 initialiser that only Gather reads and that has no value to lose."""
    import onnx

    graphs = list(_graphs(model.graph))
    reads = Counter(name for graph in graphs for node in graph.node for name in node.input)
    lookups = Counter(node.input[0] for graph in graphs for node in graph.node if node.op_type == "Gather")
    halved = set()
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not 0 < lookups[tensor.name] == reads[tensor.name]:
            continue
        table = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = table.astype(np.float16)
        if (half == table).all():
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
            halved.add(tensor.name)
    for graph in reversed(graphs):  # a branch before the node that it is copied with
        nodes = []
        for node in graph.node:
            nodes.append(node)
            if node.op_type == "Gather" and node.input[0] in halved:
                rows = node.output[0]
                node.output[0] = f"{rows}.half"
                cast = onnx.helper.make_node(
                    "Cast", [node.output[0]], [rows], f"{rows}.cast", to=onnx.TensorProto.FLOAT
                )
                nodes.append(cast)
        del graph.node[:]
        graph.node.extend(nodes)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the branches in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
