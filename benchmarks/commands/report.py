"""`report`: pages and plots of what was measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.child import PROJECT
from benchmarks.commands import arguments
from benchmarks.errors import InputError, OutputError
from benchmarks.evidence import capacity
from benchmarks.evidence.comparison import comparison, read_machines
from benchmarks.evidence.page import FILE_NAME, page
from benchmarks.evidence.plots import draw, draw_machines
from benchmarks.evidence.results import PARTS, Results

RESULTS = PROJECT / "benchmarks" / "results"
DESCRIPTION = f"""
Write {FILE_NAME}, its plots and {capacity.FILE_NAME} from the JSON files of a results folder: {", ".join(PARTS)}. Parts
that are not there are named as not measured. Without a folder, do so for every machine in benchmarks/results, and
compare them in benchmarks/results/{FILE_NAME}.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("report", help="pages and plots of what was measured", description=DESCRIPTION)
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder (default: those in benchmarks/results)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.results is not None:
        write(options.results.expanduser())
        return
    machines = read_machines(RESULTS)
    for results in machines:
        _write(results)
    _compare(RESULTS, machines)


def write(folder: Path) -> Path:
    """Write the report of a results folder.

    Raises:
        InputError: the folder holds no results or those of several machines, or matplotlib is not installed.
        OutputError: it cannot be written.
    """
    return _write(Results.read(folder))


def compare(folder: Path) -> Path:
    """Write the page of all machines whose folders are in `folder`.

    Raises:
        InputError: there are none, or matplotlib is not installed.
        OutputError: it cannot be written.
    """
    return _compare(folder, read_machines(folder))


def _write(results: Results) -> Path:
    if not results.parts:
        raise InputError(f"{results.folder} holds no results; `make bench` measures some.")
    path = results.folder / FILE_NAME
    with _told(path):
        path.write_text(page(results, draw(results)), encoding="utf-8")
        planned = capacity.capacity_page(results)
        if planned is not None:
            (results.folder / capacity.FILE_NAME).write_text(planned, encoding="utf-8")
    return path


def _compare(folder: Path, machines: Sequence[Results]) -> Path:
    if not machines:
        raise InputError(f"{folder} holds no machine's results; `make bench-all` measures those of this one.")
    path = folder / FILE_NAME
    with _told(path):
        path.write_text(comparison(machines, draw_machines(folder, machines)), encoding="utf-8")
    return path


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing; install requirements/bench.txt, as `make bench` does.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}).") from error
    arguments.progress(f"the report is in {path}")
