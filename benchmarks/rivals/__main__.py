"""`python -m benchmarks.rivals NAME CHECKPOINT OUTPUT`: convert a checkpoint for a rival, in its environment."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.rivals import ctranslate2, openvino, optimum_fp32, stock_dynamic

CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "optimum-fp32": optimum_fp32.convert,
    "stock-dynamic-int8": stock_dynamic.convert,
    "openvino-int8": openvino.convert_int8,
    "openvino-int4": openvino.convert_int4,
    "ctranslate2-int8": ctranslate2.convert_int8,
}


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    name, checkpoint, output = arguments
    CONVERTERS[name](Path(checkpoint), Path(output))


if __name__ == "__main__":
    main(sys.argv[1:])
