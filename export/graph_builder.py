"""Writing ONNX graphs by hand: nodes, initialisers, and the one place where a matrix product is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export.quantizer import WeightScheme, quantize_matrix

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

OPSET = 18
IR_VERSION = 9


@dataclass(frozen=True)
class FusedGraph:
    """A finished graph.

    Attributes:
        model: the graph with its weights.
        joined: initialisers made by stacking matrices, with the rows of each; the parts stand in other graphs too.
    """

    model: onnx.ModelProto
    joined: Mapping[str, Sequence[int]]


class GraphBuilder:
    """Collects nodes and initialisers of one graph; most methods add one and return the name of what it gives.

    Args:
        scheme: how weight matrices are stored.
    """

    def __init__(self, scheme: WeightScheme) -> None:
        self._scheme = scheme
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._joined: dict[str, Sequence[int]] = {}

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

    def linear(
        self,
        x: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        output: str,
        layer: str = "",
    ) -> str:
        """Product with a weight matrix.

        Args:
            x: activations [..., K].
            weight: [N, K], as torch keeps it.
            bias: [N], added to the product; None adds nothing.
            output: name of the product [..., N].
            layer: what the scheme knows it as; empty for the last part of `output`.
        """
        rows, columns = weight.shape
        bits = self._scheme.bits(layer or output.rsplit(".", 1)[-1])
        if bits is None:
            product = output if bias is None else f"{output}.product"
            self.node("MatMul", [x, self.constant(f"{output}.weight", weight.T)], product)
            if bias is not None:
                self.node("Add", [product, self.constant(f"{output}.bias", bias)], output)
            return output
        packed, scales = quantize_matrix(weight, self._scheme, bits)
        inputs = [x, self.constant(f"{output}.weight", packed), self.constant(f"{output}.scales", scales)]
        if bias is not None:
            inputs += ["", "", self.constant(f"{output}.bias", bias)]
        return self.fused(
            "MatMulNBits",
            inputs,
            output,
            K=columns,
            N=rows,
            bits=bits,
            block_size=self._scheme.block_size,
            accuracy_level=self._scheme.accuracy_level,
        )

    def linear_group(
        self,
        x: str,
        weights: Sequence[NDArray[np.float32]],
        biases: Sequence[NDArray[np.float32]],
        outputs: Sequence[str],
    ) -> list[str]:
        """Several products of the same activations: one product and a split where weights are quantised by rows."""
        if self._scheme.bits(outputs[0].rsplit(".", 1)[-1]) is None:
            return [self.linear(x, w, b, name) for w, b, name in zip(weights, biases, outputs, strict=True)]
        joined = self.linear(x, np.concatenate(weights), np.concatenate(biases), f"{outputs[0]}.joined")
        rows = [w.shape[0] for w in weights]
        self._joined |= {f"{joined}.{part}": rows for part in ("weight", "scales", "bias")}
        sizes = self.constant(f"{joined}.sizes", np.array(rows, np.int64))
        self.node("Split", [joined, sizes], outputs, axis=-1)
        return list(outputs)

    def build(self, name: str) -> FusedGraph:
        """The graph of everything that was added."""
        import onnx

        graph = onnx.helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("com.microsoft", 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="export")
        return FusedGraph(model, self._joined)


def _value(name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
