"""`python -m benchmarks.rivals NAME CHECKPOINT OUTPUT`: convert a checkpoint for a rival, in its environment."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.rivals import ctranslate2, openvino, optimum

CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "optimum-fp32": partial(optimum.convert, quantized=False),
    "stock-dynamic-int8": partial(optimum.convert, quantized=True),
    "openvino-int8": partial(openvino.convert, bits=8),
    "openvino-int4": partial(openvino.convert, bits=4),
    "ctranslate2-int8": ctranslate2.convert_int8,
}


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    name, checkpoint, output = arguments
    CONVERTERS[name](Path(checkpoint), Path(output))


if __name__ == "__main__":
    main(sys.argv[1:])
