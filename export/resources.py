"""Disk and memory an export needs, checked before it starts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from export.errors import ExportError
from export.quantizer import WeightScheme
from service.engine.machine import available_memory

DISK_BYTES_BASE = 30_000_000  # graphs, tokenizer and what a file system adds
# Measured: the libraries and the graphs, and what is held of the largest matrix while it is quantised.
MEMORY_BYTES_BASE, MEMORY_BYTES_PER_ELEMENT = 500_000_000, 25


def check(shapes: Mapping[str, tuple[int, ...]], scheme: WeightScheme, output_dir: Path) -> None:
    """Refuse an export of tensors of these shapes that would run out of disk or memory half way.

    Raises:
        ExportError: with what is needed and what is there.
    """
    parent = next(folder for folder in output_dir.absolute().parents if folder.exists())
    disk = DISK_BYTES_BASE + sum(_stored_bytes(name, shape, scheme) for name, shape in shapes.items())
    memory = MEMORY_BYTES_BASE + MEMORY_BYTES_PER_ELEMENT * max(map(math.prod, shapes.values()))
    for what, needed, free, remedy in (
        (f"free disk at {parent}", disk, shutil.disk_usage(parent).free, "free some or choose another --output-dir"),
        ("memory", memory, available_memory(), "close other programs, or export on a larger machine"),
    ):
        if free < needed:
            available = f"{free / 1e6:,.0f} MB are available"
            raise ExportError(f"The export needs {needed / 1e6:,.0f} MB of {what}, and {available}; {remedy}.")


def _stored_bytes(name: str, shape: tuple[int, ...], scheme: WeightScheme) -> int:
    bits = scheme.bits_of(name) if len(shape) == 2 else None
    elements = math.prod(shape)
    return 4 * elements if bits is None else elements * bits // 8 + 4 * elements // scheme.block_size
