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
        """The folder that `make` creates at the path it is given, which ends in `name` and has a parent of its own.

        Args:
            name: of the folder; what stands before a slash tells folders of the same name apart.
            make: called once in a test run.
        """
        parent = self._root / name.replace("/", "-")
        parent.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent.with_suffix(".lock")):
            if not parent.exists():
                scratch = Path(tempfile.mkdtemp(dir=self._root))
                make(scratch / Path(name).name)
                scratch.rename(parent)
        return parent / Path(name).name

    def export(self, checkpoint: Path, name: str, quantization: str) -> Path:
        """`checkpoint` exported without verification."""
        return self.folder(name, lambda folder: exported(checkpoint, folder, quantization))
