"""Weight quantisation to MatMulNBits, block by block along the input axis.

Dynamic int8 (one activation scale for the whole batch) is not used: a reply would depend on the other replies in the
batch, and it is slower at the batch sizes of a beam search.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from export.config import Quantization

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUTPUT_PROJECTION = "lm_head"
ACCURACY_LEVEL_INT8 = 4


@dataclass(frozen=True)
class WeightScheme:
    """How weights are stored: bits per weight, or None for fp32.

    Attributes:
        attention_bits: of the projections around attention.
        inner_bits: of the first product of a feed-forward block.
        outer_bits: of the second.
        output_projection_bits: 4 bits there make replies repeat themselves.
        block_size: weights along the input axis that share one scale.
        accuracy_level: compute type of MatMulNBits; 4 multiplies in int8, anything lower is far slower.
    """

    attention_bits: int | None = None
    inner_bits: int | None = None
    outer_bits: int | None = None
    output_projection_bits: int | None = None
    block_size: int = 16
    accuracy_level: int = ACCURACY_LEVEL_INT8

    def bits(self, layer: str) -> int | None:
        """Bits of a layer, by the last part of its name in the checkpoint."""
        others = {"fc1": self.inner_bits, "fc2": self.outer_bits, OUTPUT_PROJECTION: self.output_projection_bits}
        return others.get(layer, self.attention_bits)

    def bits_of(self, tensor: str) -> int | None:
        """Bits of a matrix, by its name in the checkpoint."""
        return self.bits(tensor.rsplit(".", 2)[-2])

    def describe(self) -> dict[str, Any]:
        """The scheme as the manifest holds it; nothing for fp32."""
        quantised = self.output_projection_bits is not None
        return {"operator": "MatMulNBits", "symmetric": True, **asdict(self)} if quantised else {}


# A wide model spreads the error of a product over many blocks, so that theirs may be large, which is faster: on a 1,280
# wide model, blocks of 256 take a sixth less time a step than blocks of 128. A narrow model has so little to compute
# that it can keep in fp32, or in 8 bits, what its choice of words depends on most.
WIDE = 1024
WIDE_SCHEMES = {
    Quantization.NONE: WeightScheme(),
    Quantization.INT8: WeightScheme(8, 8, 8, 8, block_size=256),
    Quantization.INT4: WeightScheme(4, 4, 4, 8, block_size=128),
}
NARROW_SCHEMES = {
    Quantization.NONE: WeightScheme(),
    Quantization.INT8: WeightScheme(None, 8, 8, 8, block_size=16),
    Quantization.INT4: WeightScheme(None, 8, 4, 8, block_size=16),
}


def scheme_for(quantization: Quantization, width: int) -> WeightScheme:
    """How to store the weights of a model that is `width` channels wide."""
    return (WIDE_SCHEMES if width >= WIDE else NARROW_SCHEMES)[quantization]


def quantize_matrix(
    weight: NDArray[np.float32], scheme: WeightScheme, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantise one matrix as ONNX Runtime's quantiser does.

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
