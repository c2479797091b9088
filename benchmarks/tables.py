"""The pieces of a report, and the one place that turns them into Markdown or into lines on a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

WIDTH = 120


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells are Markdown; the first column holds names, the others figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """Two files beside the page, for light and for dark ones; `alternative` is for those who do not see it."""

    name: str
    alternative: str


Block = Heading | Prose | Items | Table | Picture


def markdown(blocks: Iterable[Block]) -> str:
    """A page."""
    return "\n".join(line for block in blocks for line in (*_markdown(block), ""))


def _markdown(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {block.text}"
        case Prose():
            yield from textwrap.wrap(block.text, WIDTH, break_long_words=False, break_on_hyphens=False)
        case Items():
            yield from (f"- {line}" for line in block.lines)
        case Table():
            yield f"| {' | '.join(block.columns)} |"
            yield "|" + " --- |" * len(block.columns)
            yield from (f"| {' | '.join(row)} |" for row in block.rows)
        case Picture():
            yield "<picture>"
            yield f'  <source media="(prefers-color-scheme: dark)" srcset="{block.name}-dark.svg">'
            yield f'  <img src="{block.name}-light.svg" width="800" alt="{block.alternative}">'
            yield "</picture>"


def show(blocks: Iterable[Block], file: TextIO) -> None:
    """Print to a terminal or a file; pictures are left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(file=file, width=None if file.isatty() else WIDTH, highlight=False, markup=False)
    for block in blocks:
        match block:
            case Heading() | Prose():
                console.print(_plain(block.text), style="bold" if isinstance(block, Heading) else "")
            case Items():
                console.print(*(_plain(f"- {line}") for line in block.lines), sep="\n")
            case Table():
                grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
                for number, column in enumerate(block.columns):
                    grid.add_column(_plain(column), justify="right" if number else "left")
                for row in block.rows:
                    grid.add_row(*map(_plain, row))
                console.print(grid)


def _plain(text: str) -> str:
    """Without the marks of Markdown for bold and code."""
    return re.sub(r"\*\*|`", "", text)
