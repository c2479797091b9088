"""What a check found: lines met or missed, with their figures, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(".accept")


@dataclass(frozen=True)
class Line:
    """One promise.

    Attributes:
        promise: what was promised.
        figure: what was measured.
        met: whether the figure keeps the promise.
        skipped: whether it could not be looked at here; the figure says why.
    """

    promise: str
    figure: str
    met: bool
    skipped: bool = False


def save(check: str, lines: Sequence[Line], commit: str, seconds: float) -> None:
    """Keep the lines of a check, written whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    content = {"commit": commit, "seconds": round(seconds, 1), "lines": [asdict(line) for line in lines]}
    fresh = RESULTS / f".{check}.json"
    fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    fresh.replace(RESULTS / f"{check}.json")


def load(check: str, commit: str) -> list[Line] | None:
    """The lines of a check that ran at `commit`; None when it has not."""
    try:
        content = json.loads((RESULTS / f"{check}.json").read_text(encoding="utf-8"))
        return [Line(**line) for line in content["lines"]] if content["commit"] == commit else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
