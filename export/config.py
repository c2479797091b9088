"""What one export run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from models.folder import folder_name

MODELS_DIR = Path("models")


class Quantization(StrEnum):
    """Precision of the weights in matrix products; activations and accumulation stay as ONNX Runtime chooses."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True)
class ExportConfig:
    """One export run.

    Attributes:
        model: Hub id or local folder of a Blenderbot checkpoint.
        revision: branch, tag or commit on the Hub; None means the default branch.
        quantization: precision of the weights.
        output_dir: folder to write.
        force: replace an existing export in `output_dir`.
        verify: compare tokens with torch before the folder is put in place.
        check: only say whether the export could be made.
    """

    model: str
    revision: str | None
    quantization: Quantization
    output_dir: Path
    force: bool
    verify: bool
    check: bool = False


def default_output_dir(model: str, quantization: Quantization) -> Path:
    """The folder under `models/` that an export of `model` goes to when none is named."""
    return MODELS_DIR / folder_name(model, quantization)
