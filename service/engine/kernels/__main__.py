"""`python -m service.engine.kernels`: build the kernel library unless it is there, and say in one line what serves."""

from __future__ import annotations

import sys
import time

from service.engine.kernels import build, library
from service.engine.kernels.library import KernelsUnavailable

SLOWER = "ONNX Runtime's own kernels will be used, which take up to twice the time"
ADVICE = (
    f"Kernels: no C++ compiler was found, so {SLOWER}; install one (apt-get install g++, or xcode-select --install) "
    "or take the one in the wheel ziglang (411 MB) with make setup COMPILER=ziglang."
)


def main() -> int:
    """Returns 0 as well where there is no compiler: the service then runs without the library."""
    try:
        library.check()
    except KernelsUnavailable:
        command = build.compiler()
        if command is None:
            print(ADVICE)
            return 0
        started = time.monotonic()
        try:
            build.build(command)
        except build.BuildFailed as error:
            print(f"Kernels: {error} So {SLOWER}; g++ 11, clang 12 or newer can build faster ones.")
            return 0
        print(f"Kernels: built in {time.monotonic() - started:.0f} s; {library.choose().title} will be used.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
