"""What all measurements share: kinds of arguments, those that several take, progress, and where the figures go."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import schema, tables
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, named_checkpoint, synthetic_checkpoint
from benchmarks.environment import this_machine, usable_cores, versions
from benchmarks.errors import ArgumentError
from benchmarks.journal import Journal, code
from benchmarks.schema import Measurement


def progress(line: str) -> None:
    """Tell the user what goes on."""
    print(line, file=sys.stderr, flush=True)


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


def names_of(known: Iterable[str], kind: str) -> Callable[[str], tuple[str, ...]]:
    """Several names, each known and twice at most, with commas between them."""

    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(","))
        unknown = next((name for name in chosen if name not in known), None)
        if unknown is not None:
            raise argparse.ArgumentTypeError(f"there is no {kind} {unknown!r}; choose from {', '.join(known)}")
        if max(Counter(chosen).values()) > 2:
            raise argparse.ArgumentTypeError(f"a {kind} runs twice at most")
        return chosen

    return names


def number(parser: Any, flag: str, default: Any, meaning: str, kind: Callable[[str], Any] = positive) -> None:
    """An option that takes a number, or several where the default is a list."""
    several = {"nargs": "+"} if isinstance(default, list) else {}
    text = meaning if default is None else f"{meaning} (default: %(default)s)"
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=text, **several)


def add_workload(parser: argparse.ArgumentParser, rounds: int, rounds_meaning: str) -> None:
    """What is asked, of whom the models are made, and where the figures go."""
    add_checkpoint(parser)
    number(parser, "--new-tokens", 60, "tokens to generate, </s> included")
    number(parser, "--source-tokens", 28, "length of the source, </s> included")
    number(parser, "--rounds", rounds, rounds_meaning)
    number(parser, "--threads", usable_cores(), "threads of each model")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """What is measured, and where the figures go."""
    help_text = "checkpoint: a folder or a Hub id (default: a synthetic one)"
    parser.add_argument("--checkpoint", metavar="DIR_OR_ID", help=help_text)
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where the figures go, and whether an interrupted run goes on."""
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write raw values and settings as JSON")
    help_text = "keep what has been measured beside FILE.json, and go on with it after an interruption"
    parser.add_argument("--resume", action="store_true", help=help_text)


class Session:
    """One measurement, from its arguments to its result file.

    Attributes:
        options: of the command line.
        cache: where models and environments are kept.
        journal: what an interrupted run with the same arguments, code and machine has measured; empty by default.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        """
        Raises:
            ArgumentError: arguments do not fit together.
            InputError: the figures could not be written.
        """
        if getattr(options, "source_tokens", 2) < 2:
            raise ArgumentError("--source-tokens is at least 2: one token and </s>.")
        if options.output is not None:
            schema.check_output(options.output)
        elif options.resume:
            raise ArgumentError("--resume needs --output, which says where the figures go.")
        self.options = options
        self.cache = Cache()
        self.journal = Journal()

    def checkpoint(self) -> Checkpoint:
        """The checkpoint that was named, or a synthetic one.

        Raises:
            BenchmarkError: it is not there or cannot be made.
            ArgumentError: an export was named without it, or source or reply are longer than it has positions.
        """
        name = self.options.checkpoint
        if name is None and getattr(self.options, "exported", None):
            raise ArgumentError("--exported needs --checkpoint, which names what was exported.")
        checkpoint = synthetic_checkpoint(self.cache, progress) if name is None else named_checkpoint(name)
        for flag in ("source-tokens", "new-tokens"):
            length = getattr(self.options, flag.replace("-", "_"), 0)
            if length > checkpoint.positions:
                raise ArgumentError(f"--{flag} is {length}, but the model has {checkpoint.positions} positions.")
        return checkpoint

    def begin(self, *made_from: Any) -> dict[str, Any]:
        """Open the journal, of values that depend on `made_from`, machine, versions and code; the fields of
        `benchmarks.schema.Measurement` that say when and where the measurement begins."""
        machine = this_machine()
        if self.options.resume:
            place = {name: value for name, value in asdict(machine).items() if name != "load_average"}
            path = self.options.output.with_name(f".{self.options.output.stem}.unfinished")
            self.journal = Journal(path, [*map(str, made_from), place, versions(), code()])
            if len(self.journal):
                progress(f"going on with an interrupted run: {len(self.journal)} values are kept")
        return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "versions": versions()}

    def finish(self, measurement: Measurement, blocks: Iterable[tables.Block]) -> None:
        """Show what was measured, write it, and forget what was kept for an interruption."""
        missing = [f"missing: {missing.name}: {missing.reason}." for missing in measurement.missing]
        tables.show([tables.Prose(str(measurement.machine)), *blocks, tables.Items(missing)], sys.stdout)
        if self.options.output is not None:
            schema.write(measurement, self.options.output)
        self.journal.finish()
