"""`python -m benchmarks`: measure an exported model against the PyTorch path and against other engines."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from benchmarks.errors import BenchmarkError
from service.engine import machine


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from benchmarks import export_cost, latency, load, quality, report, start, suite

    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure an exported Blenderbot model.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (suite, latency, load, quality, start, export_cost, report):
        command.add(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 2 for wrong arguments, 130 when interrupted, 1 for any other failure."""
    if complaint := machine.unsupported():
        print(f"error: {complaint}", file=sys.stderr)
        return 1
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        options.run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        kept = options.command == "suite"
        rest = "finished parts are kept, and the same command goes on" if kept else "no result was written"
        print(f"error: Interrupted before the end; {rest}.", file=sys.stderr)
        return 130
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
