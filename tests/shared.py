"""Checkpoints and exports that all worker processes of a test run share, each made once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.export_child import exported


class SharedFolders:
    """Folders below one root, each made by whichever worker needs it first while the others wait.

    Tests copy a folder before they change anything in it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def of_run(cls, factory: pytest.TempPathFactory) -> SharedFolders:
        """Those of this test run, in the temporary folder that its workers have in common."""
        base = factory.getbasetemp()
        return cls((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared")

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder `name` (slashes allowed), which `make` creates at the path it is given."""
        folder = self._root / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / f"{name.replace('/', '-')}.lock"):
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=self._root) as scratch:
                    made = Path(scratch) / folder.name
                    make(made)
                    made.rename(folder)
        return folder

    def export(self, checkpoint: Path, name: str, quantization: str) -> Path:
        """`checkpoint` exported without verification."""
        return self.folder(name, lambda folder: exported(checkpoint, folder, quantization))
