"""The least time that a token can take on a machine: its weights are read once, and multiplied with each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits import Limits

# Bits of a weight, and of one of the output projection, which keeps 8 where the others have 4.
WEIGHT_BITS: Mapping[str, tuple[int, int]] = {"fp32": (32, 32), "bf16": (16, 16), "int8": (8, 8), "int4": (4, 8)}
# Numbers that are multiplied; 4-bit weights are widened first.
ARITHMETIC = {"fp32": "fp32", "bf16": "bf16", "int8": "int8", "int4": "int8"}


@dataclass(frozen=True)
class StepWeights:
    """The weights that each step of a decoder multiplies, whatever the engine.

    Scales, biases, keys and values are left out, so the floor is a little too low; so are the keys and values of
    cross-attention, which are computed once for each reply.

    Attributes:
        layers: in the decoder's layers.
        projection: in the output projection.
    """

    layers: int
    projection: int

    @classmethod
    def of(cls, checkpoint: Path) -> StepWeights:
        """Those of a Blenderbot checkpoint: self-attention d x 4d, cross-attention d x 2d, feed-forward 2 x d x f."""
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        width = config["d_model"]
        layer = 6 * width * width + 2 * width * config["decoder_ffn_dim"]
        return cls(config["decoder_layers"] * layer, config["vocab_size"] * width)

    def size_bytes(self, precision: str) -> float:
        """What a step reads at a precision of `WEIGHT_BITS`."""
        bits, projection_bits = WEIGHT_BITS[precision]
        return (self.layers * bits + self.projection * projection_bits) / 8

    def floor_ms(self, precision: str, rows: int, limits: Limits) -> float:
        """Milliseconds of one step: reading or computing, whichever takes longer, as if both went on at once."""
        reading = self.size_bytes(precision) / limits.read_bytes_per_s
        computing = 2 * (self.layers + self.projection) * rows / limits.operations_per_s[ARITHMETIC[precision]]
        return 1000 * max(reading, computing)
