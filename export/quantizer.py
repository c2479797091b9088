"""Weight quantisation to MatMulNBits, block by block along the input axis.

Dynamic int8 (one activation scale for the whole batch) is not used: a reply would depend on the other replies in the
batch, and it is slower at the batch sizes of a beam search.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.config import Quantization

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUTPUT_PROJECTION = "/lm_head/MatMul"
ACCURACY_LEVEL_INT8 = 4


@dataclass(frozen=True)
class WeightScheme:
    """How weights are stored.

    Attributes:
        bits: bits per weight in the layers.
        output_projection_bits: bits per weight in the output projection; 4 bits there make replies repeat themselves.
        block_size: weights along the input axis that share one scale.
        accuracy_level: compute type of MatMulNBits; 4 multiplies in int8, anything lower is far slower.
    """

    bits: int
    output_projection_bits: int = 8
    block_size: int = 128
    accuracy_level: int = ACCURACY_LEVEL_INT8

    def describe(self) -> dict[str, Any]:
        """The scheme as the manifest holds it."""
        return {"operator": "MatMulNBits", "symmetric": True, **asdict(self)}


# Wide models spread the error of a product over many blocks, so that theirs may be large, which is faster. Measured:
# on a 1,280 wide model 256 takes a sixth less time a step than 128; on a 256 wide one only 16 keeps the first choice of
# 98.5 % of the tokens.
WIDE = 1024
WIDE_BLOCK = {Quantization.INT8: 256, Quantization.INT4: 128}
NARROW_BLOCK = 16


def scheme_for(quantization: Quantization, width: int) -> WeightScheme | None:
    """How to store the weights of a model that is `width` channels wide; None keeps them in fp32."""
    if quantization is Quantization.NONE:
        return None
    bits = 8 if quantization is Quantization.INT8 else 4
    return WeightScheme(bits, block_size=WIDE_BLOCK[quantization] if width >= WIDE else NARROW_BLOCK)


def quantize(path: Path, scheme: WeightScheme) -> None:
    """Replace each product with a constant weight in the ONNX file `path` by MatMulNBits, in place."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(path)
    others = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name != OUTPUT_PROJECTION]
    for bits, excluded in ((scheme.output_projection_bits, others), (scheme.bits, None)):
        quantizer = MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=scheme.block_size,
            is_symmetric=True,
            accuracy_level=scheme.accuracy_level,
            nodes_to_exclude=excluded,
        )
        quantizer.process()
        model = quantizer.model.model
    onnx.save(model, path)


def quantize_matrix(
    weight: NDArray[np.float32], scheme: WeightScheme, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantise one matrix exactly as `quantize` does it inside a graph.

    Args:
        weight: [N, K], as torch keeps it.
        scheme: block size.
        bits: 4 or 8.

    Returns:
        Packed weights [N, K / block_size, block_size * bits / 8] and scales [N, K / block_size].
    """
    import numpy as np
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits

    columns, rows = weight.shape
    blocks = -(-rows // scheme.block_size)
    transposed = np.zeros((blocks * scheme.block_size, columns), np.float32)
    transposed[:rows] = weight.T
    packed = np.zeros((columns, blocks, scheme.block_size * bits // 8), np.uint8)
    scales = np.zeros((columns, blocks), np.float32)
    zero_points = np.zeros((columns, -(-blocks * bits // 8)), np.uint8)
    kernel = quantize_matmul_8bits if bits == 8 else quantize_matmul_4bits
    kernel(packed, transposed, scales, zero_points, scheme.block_size, columns, rows, True)
    return packed, scales
