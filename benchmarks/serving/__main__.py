"""`python -m benchmarks.serving NAME FOLDER BEAMS NEW_TOKENS THREADS`: serve on a free port of the loopback address."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

from benchmarks.serving import stock, tutorial

SERVERS: dict[str, Callable[[str, int, int, int], None]] = {
    "stock-dynamic-int8": stock.serve,
    "tutorial": tutorial.serve,
}


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name, folder, *numbers = arguments
    beams, new_tokens, threads = map(int, numbers)
    SERVERS[name](folder, beams, new_tokens, threads)


if __name__ == "__main__":
    main(sys.argv[1:])
