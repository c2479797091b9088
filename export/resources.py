"""Disk and memory an export needs, checked before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.config import Quantization
from export.errors import OutputError, ResourceError
from service.engine.machine import available_memory

# Measured on the 400M shape (365 M weights), with headroom of about a fifth. Without quantisation, the decoders are on
# disk three times over while they are merged.
DISK_BYTES_PER_PARAMETER = {Quantization.NONE: 19.0, Quantization.INT8: 10.8, Quantization.INT4: 10.8}
MEMORY_BYTES_PER_PARAMETER = 18.0
MEMORY_BYTES_BASE = 700_000_000


def check(parameters: int, quantization: Quantization, output_dir: Path) -> None:
    """Refuse an export that would run out of disk or memory half way.

    Args:
        parameters: number of weights of the model.
        quantization: precision of the weights to be written.
        output_dir: folder to be written; its nearest existing parent is measured.

    Raises:
        ResourceError: with what is needed and what is there.
    """
    parent = next(folder for folder in output_dir.absolute().parents if folder.exists())
    try:
        free_disk = shutil.disk_usage(parent).free
    except OSError as error:
        raise OutputError(f"The disk of {parent} cannot be looked at ({error.strerror}).") from error
    need_disk = int(parameters * DISK_BYTES_PER_PARAMETER[quantization])
    if free_disk < need_disk:
        raise ResourceError(
            f"The export needs {_gigabytes(need_disk)} of free disk at {parent} while it runs and "
            f"{_gigabytes(free_disk)} are free; free some or choose another --output-dir."
        )
    need_memory = int(parameters * MEMORY_BYTES_PER_PARAMETER) + MEMORY_BYTES_BASE
    free_memory = available_memory()
    if free_memory < need_memory:
        raise ResourceError(
            f"The export needs {_gigabytes(need_memory)} of memory and {_gigabytes(free_memory)} are available; "
            "close other programs, or export on a larger machine and copy the folder."
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
