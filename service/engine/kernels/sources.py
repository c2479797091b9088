"""The C++ sources of the kernel library, and the folder that it is built in."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

FOLDER = Path(__file__).parent / "src"
BUILD = Path(__file__).parent / "build"
# -ffp-contract=off: what is rounded once and what twice is written in the sources, so that all compilers agree.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
)


def units() -> list[Path]:
    """The files that are compiled one by one."""
    return sorted(FOLDER.glob("*.cpp"))


def digest() -> str:
    """SHA-256 of the sources, how they are compiled, and for which kind of machine; what is built records it."""
    content = hashlib.sha256(" ".join((platform.system(), platform.machine(), *FLAGS)).encode())
    for path in sorted([*units(), *FOLDER.glob("*.h")]):
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()
