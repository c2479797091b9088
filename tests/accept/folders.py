"""Exported folders that several checks use, made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from models import manifest
from models.folder import DEMO_CHECKPOINT, MANIFEST
from models.synthetic import write_checkpoint

CACHE = Path(".accept") / "models"
SYNTHETIC = CACHE / "synthetic-400m"


def demo(precision: str) -> Path:
    """The demo model exported as `none`, `int8` or `int4`."""
    return _exported(DEMO_CHECKPOINT, CACHE / f"demo-{precision}", precision)


def synthetic_checkpoint() -> Path:
    """Random weights in the 400M shape."""
    if not SYNTHETIC.exists():
        write_checkpoint(SYNTHETIC, progress=print)
    return SYNTHETIC


def synthetic(precision: str) -> Path:
    """The 400M shape exported as `none`, `int8` or `int4`."""
    return _exported(synthetic_checkpoint(), CACHE / f"400m-{precision}", precision)


def _exported(checkpoint: Path, folder: Path, precision: str) -> Path:
    if not (folder / MANIFEST).exists() or manifest.outdated(folder):
        command = [sys.executable, "-m", "export", "--model", str(checkpoint), "--output-dir", str(folder), "--force"]
        subprocess.run([*command, "--quantization", precision, "--no-verify"], check=True)
    return folder
