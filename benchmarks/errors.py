"""Everything that can stop a benchmark, each with one sentence for the user."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark that cannot go on; the message is one sentence that says what is wrong."""

    exit_code = 1


class ArgumentError(BenchmarkError):
    """Arguments that do not fit together."""

    exit_code = 2


class InputError(BenchmarkError):
    """A checkpoint, an exported folder or a result file that is not there, not usable, or cannot be written."""


class RivalError(BenchmarkError):
    """A rival that cannot be installed or converted; a run goes on without it."""


class ContestantError(BenchmarkError):
    """A contestant that ended before its work was done, or did something else than was asked."""


class ServerError(BenchmarkError):
    """A chat server that did not become ready or did not reply as it should."""
