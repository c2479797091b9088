"""What one export run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportConfig:
    """One export run; `python -m export --help` says what each setting does."""

    model: str
    revision: str | None
    quantization: str  # one of `models.folder.PRECISIONS`
    output_dir: Path
    force: bool
    verify: bool
    check: bool = False
