"""`python -m benchmarks`: measure an exported model against the PyTorch path and against other engines."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks.errors import BenchmarkError, InputError
from models.synthetic import SHAPES, CheckpointError, write_checkpoint
from service.engine import machine


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from benchmarks import export_cost, latency, load, profile, quality, report, session, start, suite

    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure an exported Blenderbot model.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (suite, latency, load, quality, start, export_cost, report, profile):
        command.add(commands)
    text = (
        "write a checkpoint in the shape of a Blenderbot with random weights: good for speed and numeric fidelity only"
    )
    synthetic = commands.add_parser("synthetic", help=text, description=text)
    synthetic.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder to write")
    synthetic.add_argument("--shape", choices=[*SHAPES], default="400m", help="of which model (default: %(default)s)")
    session.number(synthetic, "--seed", 0, "of the weights", session.seed)
    synthetic.add_argument("--force", action="store_true", help="replace a checkpoint that is there already")
    synthetic.set_defaults(run=_write_synthetic)
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
        kept = "what was measured is kept, and the same command goes on"
        rest = kept if getattr(options, "resume", False) else "no result was written"
        print(f"error: Interrupted before the end; {rest}.", file=sys.stderr)
        return 130
    return 0


def _write_synthetic(options: argparse.Namespace) -> None:
    from benchmarks.session import progress

    settings = {"seed": options.seed, "force": options.force, "shape": SHAPES[options.shape]}
    try:
        write_checkpoint(options.output_dir, progress=progress, **settings)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    print(f"{options.output_dir}: random weights, for speed and numeric fidelity only")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
