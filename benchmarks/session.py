"""One measurement, from its arguments to its result file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import output, schema
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, named_checkpoint, synthetic_checkpoint
from benchmarks.environment import this_machine, versions
from benchmarks.errors import ArgumentError, BenchmarkError
from benchmarks.output import progress
from benchmarks.results import Results
from benchmarks.schema import Measurement, Missing


@dataclass
class Session:
    """What a measurement works with.

    Attributes:
        output: file that the values are written to; None for none.
        cache: where models and environments are kept.
        missing: rivals that take no part, and why, by name.
    """

    output: Path | None = None
    cache: Cache = field(default_factory=Cache)
    missing: dict[str, str] = field(default_factory=dict)
    _head: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """An `InputError` says that the values could not be written."""
        if self.output is not None:
            schema.check_output(self.output)

    def checkpoint(self, options: argparse.Namespace) -> Checkpoint:
        """The checkpoint that was named, or a synthetic one.

        Raises:
            BenchmarkError: it is not there or cannot be made.
            ArgumentError: an export was named without it, or source or reply are too long for the model.
        """
        if options.checkpoint is None and getattr(options, "exported", None):
            raise ArgumentError("--exported needs --checkpoint, which names what was exported.")
        checkpoint = named_checkpoint(options.checkpoint) if options.checkpoint else synthetic_checkpoint(self.cache)
        for flag in ("source-tokens", "new-tokens"):
            length = getattr(options, flag.replace("-", "_"), 0)
            if length > checkpoint.positions:
                raise ArgumentError(f"--{flag} is {length}, but the model has {checkpoint.positions} positions.")
        return checkpoint

    def begin(self, checkpoint: Checkpoint, **settings: Any) -> None:
        """Note what is measured, when and where."""
        settings = {"checkpoint": checkpoint.source, "random_weights": checkpoint.random_weights, **settings}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._head = {"date": now, "machine": this_machine(), "versions": versions(), "settings": settings}

    def leave_out(self, name: str, error: BenchmarkError, *, rival: bool = True) -> None:
        """Note that a rival is missing, and why; the error of anybody else is raised."""
        if not rival:
            raise error
        progress(f"{name} is missing: {error}")
        self.missing[name] = str(error).rstrip(".")

    def finish(
        self, kind: type[Measurement], part: str, section: Callable[[Results], Iterable[str]], **values: Any
    ) -> None:
        """Show a measurement of a kind as `section` does, and write it.

        Its file is usually called `part`; `values` are its fields that the session does not know.
        """
        missing = [Missing(name=name, reason=reason) for name, reason in self.missing.items()]
        measurement: Any = kind(**self._head, missing=missing, **values)
        blocks = [str(measurement.machine), *section(Results(Path(), {part: measurement}))]
        output.show([*blocks, output.bullets(f"missing: {row.name}: {row.reason}." for row in missing)], sys.stdout)
        if self.output is not None:
            schema.write(measurement, self.output)
