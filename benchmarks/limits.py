"""What this machine can do at the most: `python -m benchmarks.limits THREADS` measures it and prints JSON.

    read_bytes_per_s   largest rate at which `threads` threads, or fewer, read an array far larger than any cache
    operations_per_s   largest rate of multiplications and additions (two for each pair of numbers) in a large matrix
                       product on `threads` threads, by kind of number: int8 (unsigned by signed, 32-bit sums) and
                       fp32 by ONNX Runtime, bf16 by torch

Each is the best of many attempts with the fastest way found, so that it is a ceiling and no average.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import child
from benchmarks.errors import BenchmarkError
from benchmarks.journal import Journal

ARRAY_BYTES = 2**29
ATTEMPTS = 8
# Rows of the left matrix, and the sizes of the right one.
PRODUCTS = ((256, 1024, 1024), (256, 1280, 5120), (1024, 2048, 2048))


@dataclass(frozen=True)
class Limits:
    """See the module.

    Attributes:
        threads: that were used at the most.
        read_bytes_per_s: memory.
        operations_per_s: by kind of number.
    """

    threads: int
    read_bytes_per_s: float
    operations_per_s: dict[str, float]


def measured(threads: int) -> Limits:
    """The limits, measured in a process of their own.

    Raises:
        BenchmarkError: they cannot be measured.
    """
    ended = child.run([sys.executable, "-m", "benchmarks.limits", str(threads)])
    if ended.code != 0:
        raise BenchmarkError(f"The measurement of the machine's limits {ended}.")
    return Limits(**json.loads(ended.last_words))


def kept_limits(journal: Journal, threads: int, progress: Callable[[str], None]) -> Limits:
    """The limits that a journal holds, or else measured now.

    Raises:
        BenchmarkError: they cannot be measured.
    """
    progress("measuring the machine: reading and multiplying")
    return Limits(**journal.kept("limits", lambda: asdict(measured(threads))))


def _best(work: Callable[[], Any]) -> float:
    """Least seconds of some attempts."""
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
    found = []
    for used in sorted({1, threads}):
        with ThreadPoolExecutor(used) as pool:
            for way, view in ways:
                parts = np.array_split(view, used)
                found.append(ARRAY_BYTES / _best(lambda way=way, parts=parts: list(pool.map(way, parts))))  # type: ignore[misc]
    return max(found)


def _onnx_operations_per_s(kind: str, threads: int) -> float:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    operator, left, right, result = {
        "int8": ("MatMulInteger", np.uint8, np.int8, TensorProto.INT32),
        "fp32": ("MatMul", np.float32, np.float32, TensorProto.FLOAT),
    }[kind]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    rates = []
    for rows, inner, columns in PRODUCTS:
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
        seconds = _best(lambda session=session, a=a: session.run(None, {"a": a}))  # type: ignore[misc]
        rates.append(2 * rows * inner * columns / seconds)
    return max(rates)


def _torch_operations_per_s(threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    rates = []
    for rows, inner, columns in PRODUCTS:
        a, b = torch.ones(rows, inner, dtype=torch.bfloat16), torch.ones(inner, columns, dtype=torch.bfloat16)
        rates.append(2 * rows * inner * columns / _best(lambda a=a, b=b: a @ b))  # type: ignore[misc]
    return max(rates)


def main(arguments: list[str]) -> None:
    threads = int(arguments[0])
    found = {
        "threads": threads,
        "read_bytes_per_s": _read_bytes_per_s(threads),
        "operations_per_s": {
            "int8": _onnx_operations_per_s("int8", threads),
            "fp32": _onnx_operations_per_s("fp32", threads),
            "bf16": _torch_operations_per_s(threads),
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
