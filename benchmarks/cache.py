"""What benchmarks make once and keep: checkpoints, exports, converted models, virtual environments."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(__file__).resolve().parent / ".cache"


@dataclass(frozen=True)
class Cache:
    """A folder that may be deleted at any time; everything in it is made again when it is next needed."""

    folder: Path = CACHE

    def get(self, name: str, made_from: Any, make: Callable[[Path], None]) -> Path:
        """The folder `name`, made anew when it is missing or was made from something else.

        Args:
            name: path within the cache.
            made_from: whatever the content depends on, as JSON values; kept in a file beside the folder.
            make: makes the folder, whose parent is there; an exception leaves nothing that counts as made.
        """
        target = self.folder / name
        record = target.with_name(f"{target.name}.made-from.json")
        content = json.dumps(made_from, sort_keys=True, indent=2) + "\n"
        if target.is_dir() and record.is_file() and record.read_text(encoding="utf-8") == content:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        self.forget(name)
        try:
            make(target)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        record.write_text(content, encoding="utf-8")
        return target

    def forget(self, name: str) -> None:
        """Remove the folder `name`, so that it is made anew."""
        target = self.folder / name
        target.with_name(f"{target.name}.made-from.json").unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)


def fingerprint(paths: Iterable[Path]) -> str:
    """Hexadecimal SHA-256 of the names and contents of files; a folder stands for the files directly in it."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as content:
                digest.update(f"{file.name}\0".encode() + hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
