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


def picture(name: str, alternative: str) -> Iterator[str]:
    """A picture beside the page, for light and for dark ones; `alternative` is for those who do not see it."""
    yield "<picture>"
    yield f'  <source media="(prefers-color-scheme: dark)" srcset="{name}-dark.svg">'
    yield f'  <img src="{name}-light.svg" width="800" alt="{alternative}">'
    yield "</picture>"
    yield ""
