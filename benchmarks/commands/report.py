"""`report`: a page and plots of a results folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.child import PROJECT
from benchmarks.commands import arguments
from benchmarks.errors import InputError, OutputError
from benchmarks.evidence import capacity
from benchmarks.evidence.page import FILE_NAME, page
from benchmarks.evidence.plots import draw
from benchmarks.evidence.results import PARTS, Results

RESULTS = PROJECT / "benchmarks" / "results"
DESCRIPTION = f"""
Write {FILE_NAME}, its plots and {capacity.FILE_NAME} from the JSON files of a results folder: {", ".join(PARTS)}. Parts
that are not there are named as not measured.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("report", help="a page and plots of what was measured", description=DESCRIPTION)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="folder (default: benchmarks/results)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    write(options.results.expanduser())


def write(folder: Path) -> Path:
    """Write the report of a results folder.

    Raises:
        InputError: the folder holds no results, or matplotlib is not installed.
        OutputError: it cannot be written.
    """
    results = Results.read(folder)
    if not results.parts:
        raise InputError(f"{folder} holds no results; `make bench` measures some.")
    path = folder / FILE_NAME
    try:
        pictures = draw(results)
        path.write_text(page(results, list(pictures)), encoding="utf-8")
        planned = capacity.capacity_page(results)
        if planned is not None:
            (folder / capacity.FILE_NAME).write_text(planned, encoding="utf-8")
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing; install requirements-bench.txt, as `make bench` does.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}).") from error
    arguments.progress(f"the report is in {path}")
    return path
