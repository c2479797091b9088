"""Writing ONNX graphs by hand: nodes, initialisers, and the one place where a matrix product is chosen."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.quantizer import WeightScheme
from export.weights import Form, Graph, Stored

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

OPSET = 18
IR_VERSION = 9


class GraphBuilder:
    """Collects nodes and initialisers of one graph; most methods add one and return the name of what it gives.

    Args:
        scheme: how weight matrices are stored.
        shapes: of the checkpoint's tensors.
        halved: tables that are stored in half precision.
    """

    def __init__(
        self, scheme: WeightScheme, shapes: Mapping[str, tuple[int, ...]], halved: Collection[str] = ()
    ) -> None:
        self._scheme, self._shapes, self._halved = scheme, shapes, halved
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._stored: dict[str, Stored] = {}

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input; strings in the shape name sizes that vary."""
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> None:
        """Declare what a node has written as an output of the graph."""
        self._outputs.append(_value(name, dtype, shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an initialiser, or find it by its name where it has been added before."""
        import onnx

        if name not in self._initializers:
            self._initializers[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def weight(self, tensors: str | Sequence[str], name: str = "", form: Form = Form.PLAIN) -> str:
        """Add an initialiser that holds tensors of the checkpoint end to end; named as the first of them by itself."""
        import onnx

        tensors = (tensors,) if isinstance(tensors, str) else tuple(tensors)
        name = name or tensors[0]
        tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT)
        if form is Form.PLAIN:
            tensor.dims.append(sum(math.prod(self._shapes[part]) for part in tensors))
        self._initializers[name] = tensor
        self._stored[name] = Stored(tensors, form)
        return name

    def lookup(self, table: str, ids: str, name: str, output: str) -> str:
        """Rows of a table of the checkpoint, which the graph knows as `name`."""
        import onnx

        if table not in self._halved:
            self._initializers[name] = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT)
            self._stored[name] = Stored((table,), Form.PLAIN)
            return self.node("Gather", [name, ids], output)
        rows = self.node("Gather", [self.weight(table, name, Form.HALF), ids], f"{output}.half")
        return self.node("Cast", [rows], output, to=onnx.TensorProto.FLOAT)

    def node(
        self, operator: str, inputs: Sequence[str], outputs: str | Sequence[str], domain: str = "", **attributes: Any
    ) -> str:
        """Add a node; returns the name of its first output, which is the name of the node too."""
        import onnx

        names = [outputs] if isinstance(outputs, str) else list(outputs)
        self._nodes.append(
            onnx.helper.make_node(operator, list(inputs), names, name=names[0], domain=domain, **attributes)
        )
        return names[0]

    def fused(self, operator: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own domain."""
        return self.node(operator, inputs, outputs, domain="com.microsoft", **attributes)

    def linear(self, x: str, layers: str | Sequence[str], output: str, *, bias: str | Sequence[str] = ()) -> str:
        """Product with the matrices of one layer, or of several by rows.

        Args:
            x: activations [..., K].
            layers: names in the checkpoint, without `.weight`.
            output: name of the product [..., N].
            bias: tensors that are added to the product; none adds nothing.
        """
        tensors = [f"{layer}.weight" for layer in ([layers] if isinstance(layers, str) else layers)]
        bits = self._scheme.bits_of(tensors[0])
        if bits is None:
            product = f"{output}.product" if bias else output
            self.node("MatMul", [x, self.weight(tensors, f"{output}.weight", Form.TRANSPOSED)], product)
            if bias:
                self.node("Add", [product, self.weight(bias, f"{output}.bias")], output)
            return output
        packed = self.weight(tensors, f"{output}.weight", Form.PACKED)
        inputs = [x, packed, self.weight(tensors, f"{output}.scales", Form.SCALES)]
        if bias:
            inputs += ["", "", self.weight(bias, f"{output}.bias")]
        return self.fused(
            "MatMulNBits",
            inputs,
            output,
            K=self._shapes[tensors[0]][1],
            N=sum(self._shapes[tensor][0] for tensor in tensors),
            bits=bits,
            block_size=self._scheme.block_size,
            accuracy_level=self._scheme.accuracy_level,
        )

    def linear_group(self, x: str, layers: Sequence[str]) -> list[str]:
        """Layers with bias on the same activations: one product and a split where weights are quantised by rows."""
        biases = [f"{layer}.bias" for layer in layers]
        if self._scheme.bits_of(f"{layers[0]}.weight") is None:
            return [self.linear(x, layer, layer, bias=bias) for layer, bias in zip(layers, biases, strict=True)]
        joined = self.linear(x, layers, f"{layers[0]}.joined", bias=biases)
        rows = np.array([self._shapes[bias][0] for bias in biases], np.int64)
        self.node("Split", [joined, self.constant(f"{joined}.sizes", rows)], layers, axis=-1)
        return list(layers)

    def build(self, name: str) -> Graph:
        """The graph of everything that was added."""
        import onnx

        graph = onnx.helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("com.microsoft", 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="export")
        return Graph(model, self._stored)


def _value(name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
