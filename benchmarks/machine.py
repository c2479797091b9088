"""The least time that a token can take on a machine: `python -m benchmarks.machine THREADS` measures its limits.

A step of a decoder reads its weights once and multiplies them with each row. What the machine reads and multiplies is
measured in a process of its own, and printed as JSON: the best of many attempts with the fastest way known, so that it
is a ceiling, not an average.
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.errors import BenchmarkError
from benchmarks.output import progress

ARRAY_BYTES = 2**29
ATTEMPTS = 8
# Rows of the left matrix, and the sizes of the right one.
PRODUCTS = ((256, 1024, 1024), (256, 1280, 5120), (1024, 2048, 2048))
# Bits of a weight, and of one of the output projection, which keeps 8 where the others have 4.
WEIGHT_BITS: Mapping[str, tuple[int, int]] = {"fp32": (32, 32), "bf16": (16, 16), "int8": (8, 8), "int4": (4, 8)}
# Numbers that are multiplied; 4-bit weights are widened first.
ARITHMETIC = {"fp32": "fp32", "bf16": "bf16", "int8": "int8", "int4": "int8"}


@dataclass(frozen=True)
class Limits:
    """The most that a machine can do.

    Attributes:
        threads: the most that were used.
        read_bytes_per_s: largest rate at which they read an array far larger than any cache.
        operations_per_s: two for each pair of numbers in a large matrix product, by kind of number: int8 (unsigned by
            signed, 32-bit sums) and fp32 by ONNX Runtime, bf16 by torch.
    """

    threads: int
    read_bytes_per_s: float
    operations_per_s: dict[str, float]

    def __str__(self) -> str:
        rates = ", ".join(f"{rate / 1e9:,.0f} ({kind})" for kind, rate in self.operations_per_s.items())
        return f"{self.read_bytes_per_s / 1e9:.1f} GB/s and, in billion operations a second, {rates}"


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

    def floor_ms(self, precision: str, rows: int, limits: Limits) -> float:
        """Milliseconds of one step with weights of one of `WEIGHT_BITS`: reading or computing, whichever takes longer,
        as if both went on at once."""
        bits, projection_bits = WEIGHT_BITS[precision]
        reading = (self.layers * bits + self.projection * projection_bits) / 8 / limits.read_bytes_per_s
        computing = 2 * (self.layers + self.projection) * rows / limits.operations_per_s[ARITHMETIC[precision]]
        return 1000 * max(reading, computing)


def measure(threads: int) -> Limits:
    """The limits of this machine, measured in a process of their own."""
    progress("measuring the machine: reading and multiplying")
    ending = process.run([sys.executable, "-m", "benchmarks.machine", str(threads)])
    if ending.code != 0:
        raise BenchmarkError(f"The measurement of the machine's limits {ending}.")
    return Limits(**json.loads(ending.last_line))


def _fastest_s(work: Callable[[], Any]) -> float:
    return min(timeit.repeat(work, number=1, repeat=ATTEMPTS))


def _read_bytes_per_s(threads: int) -> float:
    import numpy as np

    array = np.ones(ARRAY_BYTES // 4, np.float32)
    rates = []
    for number in sorted({1, threads}):
        with ThreadPoolExecutor(number) as pool:
            parts = np.array_split(array, number)
            integers = [part.view(np.int32) for part in parts]
            seconds = (
                _fastest_s(lambda parts=integers: list(pool.map(np.max, parts))),  # type: ignore[misc]
                _fastest_s(lambda parts=parts: list(pool.map(np.dot, parts, parts))),  # type: ignore[misc]
            )
            rates.append(ARRAY_BYTES / min(seconds))
    return max(rates)


def _operations_per_s(product: Callable[[int, int, int], Callable[[], Any]]) -> float:
    """The best rate of all sizes; `product` makes one that can be run, of rows, inner size and columns."""
    return max(
        2 * rows * inner * columns / _fastest_s(product(rows, inner, columns)) for rows, inner, columns in PRODUCTS
    )


def _onnx_product(kind: str, threads: int, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    import numpy as np
    import onnxruntime
    from onnx import numpy_helper, parser

    operator, left, right, result = {
        "int8": ("MatMulInteger", "uint8", "int8", "int32"),
        "fp32": ("MatMul", "float", "float", "float"),
    }[kind]
    numbers = {"uint8": np.uint8, "int8": np.int8, "float": np.float32}
    graph = f"product ({left}[{rows},{inner}] a) => ({result}[{rows},{columns}] c) {{ c = {operator}(a, b) }}"
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]> ' + graph)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((inner, columns), numbers[right]), "b"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    a = np.ones((rows, inner), numbers[left])
    return lambda: session.run(None, {"a": a})


def _torch_product(threads: int, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(threads)
    a, b = torch.ones(rows, inner, dtype=torch.bfloat16), torch.ones(inner, columns, dtype=torch.bfloat16)
    return lambda: a @ b


def main(arguments: list[str]) -> None:
    threads = int(arguments[0])
    rates = {kind: _operations_per_s(partial(_onnx_product, kind, threads)) for kind in ("int8", "fp32")}
    rates["bf16"] = _operations_per_s(partial(_torch_product, threads))
    print(json.dumps(asdict(Limits(threads, _read_bytes_per_s(threads), rates))))


if __name__ == "__main__":
    main(sys.argv[1:])
