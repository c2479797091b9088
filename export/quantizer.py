"""Weight quantisation to MatMulNBits, block by block along the input axis.

Dynamic int8 (one activation scale for the whole batch) is not used: a reply would depend on the other replies in the
batch, and it is slower at the batch sizes of a beam search.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class WeightScheme:
    """How weights are stored: bits per weight, or None for fp32."""

    attention_bits: int | None = None  # of the projections around attention
    inner_bits: int | None = None  # of the first product of a feed-forward block
    outer_bits: int | None = None  # of the second
    output_projection_bits: int | None = None  # 4 bits there make replies repeat themselves
    block_size: int = 16  # weights along the input axis that share one scale
    accuracy_level: int = 4  # compute type of MatMulNBits; 4 multiplies in int8, anything lower is far slower

    def bits_of(self, tensor: str) -> int | None:
        """Bits of the weights of a layer, by a name such as `model.encoder.layers.0.fc1.weight`; None for fp32."""
        layer = tensor.rpartition(".")[0].rpartition(".")[2]
        others = {"fc1": self.inner_bits, "fc2": self.outer_bits, "lm_head": self.output_projection_bits}
        return self.attention_bits if layer.endswith("_proj") else others.get(layer)

    def describe(self) -> dict[str, Any]:
        """The scheme as the manifest holds it; nothing for fp32."""
        quantised = self.output_projection_bits is not None
        return {"operator": "MatMulNBits", "symmetric": True, **asdict(self)} if quantised else {}


# A wide model spreads the error of a product over many blocks, so that theirs may be large, which is faster: on a 1,280
# wide model, blocks of 256 take a sixth less time a step than blocks of 128. A narrow model has so little to compute
# that it can keep in fp32, or in 8 bits, what its choice of words depends on most.
NARROW_SCHEMES = {"int8": WeightScheme(None, None, 8, 8), "int4": WeightScheme(None, 8, 4, 8)}
WIDE_SCHEMES = {"int8": WeightScheme(8, 8, 8, 8, block_size=256), "int4": WeightScheme(4, 4, 4, 8, block_size=128)}


def scheme_for(quantization: str, width: int) -> WeightScheme:
    """How to store the weights of a model that is `width` channels wide, at one of `models.folder.PRECISIONS`."""
    return (WIDE_SCHEMES if width >= 1024 else NARROW_SCHEMES).get(quantization, WeightScheme())
