"""Pieces of a page of Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence


def prose(text: str) -> Iterator[str]:
    """A paragraph."""
    yield from textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)
    yield ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
