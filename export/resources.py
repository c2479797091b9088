"""Disk and memory an export needs, checked before it starts."""

from __future__ import annotations

import math
import resource
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from export.errors import OutputError, ResourceError
from export.quantizer import WeightScheme
from export.tensors import TABLES
from service.engine.machine import available_memory

# Graphs, tokenizer and what a file system adds.
DISK_BYTES_BASE = 30_000_000
# Measured: the libraries and the graphs, and what is held of the largest matrix while it is quantised.
MEMORY_BYTES_BASE = 500_000_000
MEMORY_BYTES_PER_ELEMENT = 25
# The stock class and ours, one after the other, and torch with one matrix at a time.
VERIFICATION_BYTES_BASE = 900_000_000
VERIFICATION_BYTES_PER_BYTE = 1.6


def check(shapes: Mapping[str, tuple[int, ...]], scheme: WeightScheme, output_dir: Path) -> None:
    """Refuse an export that would run out of disk or memory half way.

    Args:
        shapes: of the model's tensors.
        scheme: how they are to be stored.
        output_dir: folder to be written; its nearest existing parent is measured.

    Raises:
        ResourceError: with what is needed and what is there.
    """
    parent = next(folder for folder in output_dir.absolute().parents if folder.exists())
    try:
        free_disk = shutil.disk_usage(parent).free
    except OSError as error:
        raise OutputError(f"The disk of {parent} cannot be looked at ({error.strerror}).") from error
    need_disk = DISK_BYTES_BASE + sum(_stored_bytes(name, shape, scheme) for name, shape in shapes.items())
    if free_disk < need_disk:
        raise ResourceError(
            f"The export needs {_gigabytes(need_disk)} of free disk at {parent} while it runs and "
            f"{_gigabytes(free_disk)} are free; free some or choose another --output-dir."
        )
    need_memory = MEMORY_BYTES_BASE + MEMORY_BYTES_PER_ELEMENT * max(map(math.prod, shapes.values()))
    free_memory = available_memory()
    if free_memory < need_memory:
        raise ResourceError(
            f"The export needs {_gigabytes(need_memory)} of memory and {_gigabytes(free_memory)} are available; "
            "close other programs, or export on a larger machine and copy the folder."
        )


def verification_bytes(exported: Path) -> int:
    """Memory that the comparison of an exported folder with torch takes."""
    weights = sum(path.stat().st_size for path in exported.iterdir())
    return VERIFICATION_BYTES_BASE + int(VERIFICATION_BYTES_PER_BYTE * weights)


def peak_memory() -> int:
    """Largest resident memory of this process and its children together, in bytes; that of children is an estimate."""
    import psutil

    alone, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024
    beside = psutil.Process().memory_info().rss if children else 0
    return max(alone * unit, children * unit + beside)


def _stored_bytes(name: str, shape: tuple[int, ...], scheme: WeightScheme) -> int:
    bits = scheme.bits_of(name) if len(shape) == 2 and name not in TABLES and name.endswith(".weight") else None
    elements = math.prod(shape)
    return 4 * elements if bits is None else elements * bits // 8 + 4 * elements // scheme.block_size


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
