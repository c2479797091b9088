"""Writing ONNX graphs by hand: nodes, initialisers, and the one place where a matrix product is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.weights import Form, WeightFile

OPSET = 18
IR_VERSION = 9
LAYER_NORM_EPSILON = 1e-5
FUSED = "com.microsoft"  # ONNX Runtime's own operators


class GraphBuilder:
    """Collects nodes and initialisers of one graph; most methods add one and return the name of what it gives."""

    def __init__(self, weights: WeightFile) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._weights = weights

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input; strings in the shape name sizes that vary."""
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> None:
        """Declare what a node has written as an output of the graph."""
        self._outputs.append(_value(name, dtype, shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an initialiser of its own, or find it by its name where it has been added before."""
        self.initializers.setdefault(name, onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, tensors: str | Sequence[str], form: Form = Form.VECTOR) -> str:
        """Add an initialiser that holds tensors of the checkpoint, several of them end to end."""
        initializer = self._weights.initializer([tensors] if isinstance(tensors, str) else tensors, form)
        self.initializers[initializer.name] = initializer
        return initializer.name

    def node(self, operator: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Any) -> str:
        """Add a node; returns the name of its first output, which is the name of the node too."""
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names[0]

    def lookup(self, ids: str, output: str, table: str) -> str:
        """Rows of a table of the checkpoint, as float32."""
        name = self.weight(table, Form.TABLE)
        if self.initializers[name].data_type == onnx.TensorProto.FLOAT:
            return self.node("Gather", [name, ids], output)
        rows = self.node("Gather", [name, ids], f"{output}.half")
        return self.node("Cast", [rows], output, to=onnx.TensorProto.FLOAT)

    def norm(self, x: str, output: str, scale: str, shift: str) -> str:
        """Layer normalisation over the last axis."""
        inputs = [x, self.weight(scale), self.weight(shift)]
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def linear(self, x: str, output: str, matrices: str | Sequence[str], biases: str | Sequence[str] = ()) -> str:
        """Product of activations [..., K] with matrices, by rows if there are several, plus their biases if any."""
        first, *others = [matrices] if isinstance(matrices, str) else matrices
        bits = self._weights.scheme.bits_of(first)
        if bits is None:
            product = f"{output}.product" if biases else output
            self.node("MatMul", [x, self.weight(matrices, Form.TRANSPOSED)], product)
            return self.node("Add", [product, self.weight(biases)], output) if biases else output
        inputs = [x, self.weight(matrices, Form.PACKED), self.weight(matrices, Form.SCALES)]
        return self.node(
            "MatMulNBits",
            [*inputs, "", "", self.weight(biases)] if biases else inputs,
            output,
            domain=FUSED,
            K=self._weights.shapes[first][1],
            N=sum(self._weights.shapes[matrix][0] for matrix in (first, *others)),
            bits=bits,
            block_size=self._weights.scheme.block_size,
            accuracy_level=self._weights.scheme.accuracy_level,
        )

    def linears(self, x: str, layers: Sequence[str]) -> list[str]:
        """Layers with bias on the same activations: one product and a split where weights are quantised by rows."""
        matrices, biases = ([f"{layer}.{part}" for layer in layers] for part in ("weight", "bias"))
        if self._weights.scheme.bits_of(matrices[0]) is None:
            return [self.linear(x, *parts) for parts in zip(layers, matrices, biases, strict=True)]
        joined = self.linear(x, f"{layers[0]}.joined", matrices, biases)
        rows = np.array([self._weights.shapes[bias][0] for bias in biases], np.int64)
        self.node("Split", [joined, self.constant(f"{joined}.sizes", rows)], layers, axis=-1)
        return list(layers)

    def build(self, name: str) -> onnx.ModelProto:
        """The graph of everything that was added."""
        graph = onnx.helper.make_graph(self.nodes, name, self._inputs, self._outputs, list(self.initializers.values()))
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(FUSED, 1)]
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="export")


def _value(name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
