"""Single operators of the kernel library, run by ONNX Runtime, beside plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from service.engine.kernels.library import FILE_NAME
from service.engine.kernels.rewrite import DOMAIN

EPSILON = 1e-5
TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def run(
    library: Path,
    operator: str,
    inputs: dict[str, NDArray[Any] | None],
    constants: dict[str, NDArray[Any]],
    outputs: int = 1,
    threads: int = 2,
    **attributes: Any,
) -> list[NDArray[np.float32]]:
    """Run one operator.

    Args:
        library: folder of the kernel library.
        operator: its type.
        inputs: in the operator's order, constants included; None for one that is left out.
        constants: those that are initialisers, by name.
        outputs: how many it has, all float32.
        threads: of ONNX Runtime.
        attributes: of the node.
    """
    names = [name if value is not None else "" for name, value in inputs.items()]
    results = [f"output{index}" for index in range(outputs)]
    node = helper.make_node(operator, names, results, domain=DOMAIN, **attributes)
    fed = {name: value for name, value in inputs.items() if value is not None and name not in constants}
    graph = helper.make_graph(
        [node],
        operator,
        [helper.make_tensor_value_info(name, TYPES[value.dtype.name], value.shape) for name, value in fed.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library / FILE_NAME))
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, fed))


@dataclass(frozen=True)
class Matrix:
    """A weight matrix as MatMulNBits stores it.

    Attributes:
        packed: uint8 [N, blocks, block * bits / 8].
        scales: float32 [N, blocks].
        bits: 4 or 8.
        block: weights that share a scale.
        depth: K.
    """

    packed: NDArray[np.uint8]
    scales: NDArray[np.float32]
    bits: int
    block: int
    depth: int

    @property
    def columns(self) -> int:
        return len(self.packed)

    @property
    def whole(self) -> NDArray[np.int64]:
        """The weights as whole numbers around 0, [N, blocks, block]."""
        packed = self.packed.astype(np.int64)
        if self.bits == 8:
            return packed - 128
        nibbles = np.stack([packed & 15, packed >> 4], axis=-1) - 8
        return nibbles.reshape(*packed.shape[:2], self.block)


def random_matrix(rng: np.random.Generator, columns: int, depth: int, bits: int, block: int) -> Matrix:
    """A matrix of all the values that a weight can have."""
    blocks = -(-depth // block)
    packed = rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8)
    return Matrix(packed, rng.normal(size=(columns, blocks)).astype(np.float32), bits, block, depth)


def linear(
    library: Path,
    kernels: str,
    x: NDArray[np.float32],
    matrix: Matrix | NDArray[np.float32],
    *,
    bias: NDArray[np.float32] | None = None,
    norm: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    residual: NDArray[np.float32] | None = None,
    gelu: bool = False,
    threads: int = 2,
) -> NDArray[np.float32]:
    """`Linear` of x [rows, K] by a quantised matrix, or by a plain one [K, N]."""
    constants: dict[str, NDArray[Any]] = {}
    if isinstance(matrix, Matrix):
        constants |= {"weight": matrix.packed, "scales": matrix.scales}
        shape = {"K": matrix.depth, "N": matrix.columns, "bits": matrix.bits, "block_size": matrix.block}
    else:
        constants |= {"weight": matrix}
        shape = {"K": matrix.shape[0], "N": matrix.shape[1], "bits": 32, "block_size": matrix.shape[0]}
    if bias is not None:
        constants["bias"] = bias
    if norm is not None:
        constants |= {"norm_scale": norm[0], "norm_shift": norm[1]}
    names = ("weight", "scales", "bias", "norm_scale", "norm_shift")
    inputs = {"x": x, **{name: constants.get(name) for name in names}, "residual": residual}
    (product,) = run(
        library, "Linear", inputs, constants, threads=threads, kernels=kernels, gelu=int(gelu), epsilon=EPSILON, **shape
    )
    return product


def exact_product(x: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """The product by whole numbers: rows quantised block by block, sums exact within a block."""
    rows, blocks = len(x), matrix.packed.shape[1]
    padded = np.zeros((rows, blocks * matrix.block), np.float32)
    padded[:, : matrix.depth] = x
    parts = padded.reshape(rows, blocks, matrix.block)
    peaks = np.abs(parts).max(-1)
    used = peaks > 1e-36
    inverse = np.where(used, np.float32(127) / np.where(used, peaks, np.float32(1)), np.float32(0)).astype(np.float32)
    whole = np.rint(parts * inverse[..., None]).astype(np.int64)
    sums = np.einsum("rbk,nbk->rnb", whole, matrix.whole)
    scales = (peaks / np.float32(127)).astype(np.float64)[:, None] * matrix.scales.astype(np.float64)[None]
    return np.asarray((sums * scales).sum(-1))
