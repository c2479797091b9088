"""Strings that end a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class StopStrings:
    """The reply ends before the one that is complete first, wherever it is looked at."""

    def __init__(self, strings: Sequence[str], *, clean: Callable[[str], str] = lambda text: text) -> None:
        """
        Args:
            strings: none of them empty.
            clean: takes from the end of a text, which may be cut within a word, what must not be shown.
        """
        self._strings = strings
        self._clean = clean

    def __bool__(self) -> bool:
        return bool(self._strings)

    def cut(self, text: str) -> str | None:
        """What stands before the stop string; None where there is none."""
        ends = [(start + len(stop), start) for stop in self._strings if (start := text.find(stop)) >= 0]
        return self._clean(text[: min(ends)[1]]) if ends else None

    def held_back(self, text: str) -> str:
        """A text that goes on, without an ending that a stop string may begin with."""
        beginnings = (
            size
            for stop in self._strings
            for size in range(1, min(len(stop), len(text) + 1))
            if text.endswith(stop[:size])
        )
        length = max(beginnings, default=0)
        return self._clean(text[:-length]) if length else text
