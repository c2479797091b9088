"""What it took to make a model folder of a checkpoint; kept beside the folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from benchmarks.child import Ended


@dataclass(frozen=True)
class Cost:
    """One export or conversion.

    Attributes:
        seconds: from the start of its process to the end.
        peak_bytes: largest resident memory of its process.
        size_bytes: of the files in the folder.
    """

    seconds: float
    peak_bytes: int
    size_bytes: int

    @classmethod
    def of(cls, folder: Path, ended: Ended) -> Self:
        """The cost of a folder that a program has just made."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return cls(ended.seconds, ended.peak_bytes, size)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What was noted when the folder was made."""
        return cls(**json.loads(_path(folder).read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        """Note it beside the folder."""
        _path(folder).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def _path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.cost.json")
