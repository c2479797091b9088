"""What a long run has measured so far, on disk, so that one that is interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.process import PROJECT


class Journal:
    """Values by key; with a file, they are there again in the next process that measures the same thing."""

    def __init__(self, path: Path | None = None, made_from: Any = None) -> None:
        """
        Args:
            path: file of JSON lines; None keeps the values only in memory.
            made_from: what the values depend on, as JSON values; those of another thing are forgotten.
        """
        self._path = path
        self._values: dict[str, Any] = {}
        head = json.dumps({"made_from": made_from}, sort_keys=True)
        if path is None:
            return
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if lines[:1] == [head]:
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except ValueError:
                    break  # the last line of a process that was killed while it wrote
                self._values[entry["key"]] = entry["value"]
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = [json.dumps({"key": key, "value": value}) for key, value in self._values.items()]
        path.write_text("\n".join([head, *entries, ""]), encoding="utf-8")

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any:
        """What was put under a key; None for nothing."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value from now on."""
        self._values[key] = value
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "value": value}) + "\n")

    def get_or(self, key: str, work: Callable[[], Any]) -> Any:
        """What is under a key, or else what `work` gives, which is put there."""
        if key not in self._values:
            self.put(key, work())
        return self._values[key]

    def finish(self) -> None:
        """Forget everything: the run is over and its result is written."""
        self._values.clear()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def code() -> str:
    """Hexadecimal SHA-256 of the code that decides what is measured: the engine, the exporter, the benchmarks."""
    digest = hashlib.sha256()
    for folder in ("service/engine", "export", "benchmarks"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            if ".cache" not in path.parts:
                digest.update(path.read_bytes())
    return digest.hexdigest()
