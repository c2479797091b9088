"""What the commands share: kinds of arguments, those that several take, and where progress goes."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.errors import ArgumentError
from benchmarks.journal import Journal, code
from benchmarks.models import Checkpoint, named_checkpoint, synthetic_checkpoint
from benchmarks.output import check_output


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def above_zero(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def add_workload(parser: argparse.ArgumentParser, *, rounds: int, rounds_help: str) -> None:
    """Add what is asked, of whom the models are made, and where the figures go."""
    parser.add_argument(
        "--checkpoint", metavar="DIR_OR_ID", help="checkpoint: a folder or a Hub id (default: a synthetic one)"
    )
    numbers = (
        ("--new-tokens", 60, "tokens to generate, </s> included"),
        ("--source-tokens", 28, "length of the source, </s> included"),
        ("--rounds", rounds, rounds_help),
    )
    for flag, default, meaning in numbers:
        parser.add_argument(flag, type=positive, default=default, metavar="N", help=f"{meaning} (default: %(default)s)")
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads of each model (default: the physical cores)"
    )
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where the figures go, and whether an interrupted run goes on."""
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write raw values and settings as JSON")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep what has been measured beside FILE.json, and go on with it after an interruption",
    )


def journal(options: argparse.Namespace, made_from: object) -> Journal:
    """What an interrupted run with the same arguments, code and machine has measured; an empty one by default."""
    if not options.resume:
        return Journal()
    machine = {name: value for name, value in environment.machine().items() if name != "load_average"}
    path = options.output.with_name(f".{options.output.stem}.unfinished")
    kept = Journal(path, [made_from, machine, environment.versions(), code()])
    if len(kept):
        progress(f"going on with an interrupted run: {len(kept)} values are kept")
    return kept


def check_workload(options: argparse.Namespace) -> None:
    """Find out before anything is made whether the arguments fit together and the figures can be written.

    Raises:
        ArgumentError: they do not.
        OutputError: they cannot.
    """
    if options.exported and options.checkpoint is None:
        raise ArgumentError("--exported needs --checkpoint, which names what was exported.")
    if options.source_tokens < 2:
        raise ArgumentError("--source-tokens is at least 2: one token and </s>.")
    check_results(options)


def check_results(options: argparse.Namespace) -> None:
    """Find out before anything is made whether the figures can be written.

    Raises:
        ArgumentError: `--resume` without `--output`.
        OutputError: they cannot.
    """
    if options.output is not None:
        check_output(options.output)
    elif options.resume:
        raise ArgumentError("--resume needs --output, which says where the figures go.")


def checkpoint(options: argparse.Namespace, cache: Cache) -> Checkpoint:
    """The checkpoint that was named, or a synthetic one.

    Raises:
        BenchmarkError: it is not there or cannot be made.
        ArgumentError: source or reply are longer than it has positions.
    """
    named: str | None = options.checkpoint
    found = synthetic_checkpoint(cache, progress) if named is None else named_checkpoint(named)
    for name, length in (("--source-tokens", options.source_tokens), ("--new-tokens", options.new_tokens)):
        if length > found.positions:
            raise ArgumentError(f"{name} is {length}, but the model has {found.positions} positions.")
    return found


def progress(line: str) -> None:
    """Tell the user what goes on."""
    print(line, file=sys.stderr, flush=True)


def add_steps(parser: argparse.ArgumentParser, *, rows: list[int], rows_help: str) -> None:
    """The arguments of a command that looks into the steps of our engine.

    Args:
        parser: of the command.
        rows: default of `--rows`.
        rows_help: what they are rows of.
    """
    parser.add_argument(
        "--exported", type=Path, required=True, metavar="DIR", help="folder that `python -m export` wrote"
    )
    parser.add_argument(
        "--rows",
        type=positive,
        nargs="+",
        default=rows,
        metavar="N",
        help=f"{rows_help} (default: {' '.join(map(str, rows))})",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: the physical cores)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
