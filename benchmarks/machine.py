"""The least time that a token can take on a machine: `python -m benchmarks.machine THREADS` measures its limits.

A step of a decoder reads its weights once and multiplies them with each row. What the machine reads and multiplies is
measured in a process of its own, and printed as JSON: the best of many attempts with the fastest way known, so that it
is a ceiling and no average.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.errors import BenchmarkError

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
    """What a machine can do at most.

    Attributes:
        threads: that were used at most.
        read_bytes_per_s: largest rate at which they read an array far larger than any cache.
        operations_per_s: two for each pair of numbers in a large matrix product, by kind of number: int8 (unsigned by
            signed, 32-bit sums) and fp32 by ONNX Runtime, bf16 by torch.
    """

    threads: int
    read_bytes_per_s: float
    operations_per_s: dict[str, float]


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
        """Milliseconds of one step: reading or computing, whichever takes longer, as if both went on at once.

        Args:
            precision: of the weights, of `WEIGHT_BITS`.
            rows: beams.
            limits: of the machine.
        """
        bits, projection_bits = WEIGHT_BITS[precision]
        reading = (self.layers * bits + self.projection * projection_bits) / 8 / limits.read_bytes_per_s
        computing = 2 * (self.layers + self.projection) * rows / limits.operations_per_s[ARITHMETIC[precision]]
        return 1000 * max(reading, computing)


def measure(threads: int) -> Limits:
    """The limits of this machine, measured in a process of their own."""
    ending = process.run([sys.executable, "-m", "benchmarks.machine", str(threads)])
    if ending.code != 0:
        raise BenchmarkError(f"The measurement of the machine's limits {ending}.")
    return Limits(**json.loads(ending.last_line))


def _fastest_s(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(ATTEMPTS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _read_bytes_per_s(threads: int) -> float:
    import numpy as np

    array = np.ones(ARRAY_BYTES // 4, np.float32)
    ways: list[tuple[Callable[[Any], Any], Any]] = [
        (np.max, array.view(np.int32)),
        (lambda part: np.dot(part, part), array),
    ]
    rates = []
    for number in sorted({1, threads}):
        with ThreadPoolExecutor(number) as pool:
            for way, view in ways:
                parts = np.array_split(view, number)
                rates.append(ARRAY_BYTES / _fastest_s(lambda way=way, parts=parts: list(pool.map(way, parts))))  # type: ignore[misc]
    return max(rates)


def _operations_per_s(product: Callable[[int, int, int], Callable[[], Any]]) -> float:
    """The best rate of all sizes; `product` makes one that can be run, of rows, inner size and columns."""
    return max(
        2 * rows * inner * columns / _fastest_s(product(rows, inner, columns)) for rows, inner, columns in PRODUCTS
    )


def _onnx_product(kind: str, threads: int, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    operator, left, right, result = {
        "int8": ("MatMulInteger", np.uint8, np.int8, TensorProto.INT32),
        "fp32": ("MatMul", np.float32, np.float32, TensorProto.FLOAT),
    }[kind]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    a = np.ones((rows, inner), left)
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)],
        [helper.make_tensor_value_info("c", result, (rows, columns))],
        [numpy_helper.from_array(np.ones((inner, columns), right), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
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
