"""The kernel library as it was built: found, checked and asked what this processor can do."""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from service.engine.kernels import sources

FILE_NAME = "libkernels.so"
# Says what the library was built from and what its bytes are.
RECORD_NAME = "libkernels.json"
AUTO = "auto"
STOCK = "stock"
REMEDY = "make setup builds them with a C++ compiler"


@dataclass(frozen=True)
class Kernels:
    """What multiplies.

    Attributes:
        name: of an instruction set, as the nodes of a graph know it; `stock` for ONNX Runtime's own operators.
        title: what people call it, with the reason where it is `stock` and another was asked for.
        library: what ONNX Runtime loads; None for `stock`.
    """

    name: str
    title: str
    library: Path | None = None


ONNX_RUNTIME = Kernels(STOCK, STOCK)


class KernelsUnavailable(Exception):
    """The library is not there, or is not what it should be; the message is one sentence without a full stop."""


def choose(requested: str = AUTO, folder: Path = sources.BUILD) -> Kernels:
    """The kernels to use.

    Args:
        requested: `auto` for the fastest that there are, `stock`, or the name of an instruction set.
        folder: where the library was built.

    Raises:
        ValueError: this processor has no instruction set of that name, or the library is not there.
    """
    if requested == STOCK:
        return ONNX_RUNTIME
    try:
        available = instruction_sets(folder)
    except KernelsUnavailable as reason:
        if requested != AUTO:
            raise ValueError(f"Kernels for {requested} are not there: {reason}.") from reason
        return Kernels(STOCK, f"stock: {reason}")
    if requested == AUTO:
        if not available:
            return Kernels(STOCK, "stock: there are no faster ones for this processor")
        requested = next(iter(available))
    if requested not in available:
        raise ValueError(f"This processor has no kernels called {requested}; it has {', '.join(available) or 'none'}.")
    return Kernels(requested, available[requested], folder / FILE_NAME)


def instruction_sets(folder: Path = sources.BUILD) -> dict[str, str]:
    """Titles of the instruction sets that this processor and the library have, by name, fastest first.

    Raises:
        KernelsUnavailable: there is no library, or it is damaged or of other sources.
    """
    check(folder)
    try:
        library = ctypes.CDLL(str(folder / FILE_NAME))
        library.instruction_sets.restype = ctypes.c_char_p
        lines = library.instruction_sets().decode().splitlines()
    except (OSError, AttributeError) as error:
        raise KernelsUnavailable(f"the kernel library cannot be loaded ({error}); {REMEDY} anew") from error
    return dict(zip(lines[::2], lines[1::2], strict=True))


def check(folder: Path = sources.BUILD) -> None:
    """Whether the library is whole and was built from these sources, without loading it.

    Raises:
        KernelsUnavailable: saying which is not so.
    """
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        actual = hashlib.sha256((folder / FILE_NAME).read_bytes()).hexdigest()
        built_from, expected = record["sources"], record["sha256"]
    except FileNotFoundError as error:
        raise KernelsUnavailable(f"the faster kernels are not built; {REMEDY}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KernelsUnavailable(f"the kernel library cannot be read; {REMEDY} anew") from error
    if built_from != sources.digest():
        raise KernelsUnavailable(f"the kernel library was built from other sources; {REMEDY} anew")
    if actual != expected:
        raise KernelsUnavailable(f"the kernel library is damaged; {REMEDY} anew")
