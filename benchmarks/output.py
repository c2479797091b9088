"""What the user sees: lines of progress, and pages of Markdown, which a terminal shows as well."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

WIDTH = 120


def progress(line: str) -> None:
    """Say what goes on."""
    print(line, file=sys.stderr, flush=True)


def heading(text: str, level: int = 2) -> str:
    return f"{'#' * level} {text}"


def paragraph(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page(blocks: Iterable[str]) -> str:
    """A page of blocks, with an empty line between them."""
    return "\n\n".join(blocks) + "\n"


def show(blocks: Iterable[str], file: TextIO) -> None:
    """Print to a terminal or a file."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(file=file, width=None if file.isatty() else WIDTH, highlight=False)
    console.print(Markdown(page(blocks)))
