"""Strings that end a reply."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """The reply ends before the one that is complete first, wherever it is looked at."""

    def __init__(self, strings: Sequence[str]) -> None:
        """
        Args:
            strings: none of them empty.
        """
        self._strings = strings

    def __bool__(self) -> bool:
        return bool(self._strings)

    def cut(self, text: str) -> str | None:
        """What stands before the stop string; None where there is none."""
        found = [(start + len(stop), start) for stop in self._strings if (start := text.find(stop)) >= 0]
        return text[: min(found)[1]] if found else None

    def held_back(self, text: str) -> str:
        """A text that goes on, without an ending that a stop string may begin with."""
        beginnings = (
            size
            for stop in self._strings
            for size in range(1, min(len(stop), len(text) + 1))
            if text.endswith(stop[:size])
        )
        return text[: len(text) - max(beginnings, default=0)]
