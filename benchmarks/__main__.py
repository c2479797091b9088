"""`python -m benchmarks`: measure an exported model against the PyTorch path."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import environment
from benchmarks.errors import ArgumentError, BenchmarkError
from benchmarks.latency import Contestant, measure
from benchmarks.models import Models, cached_models, named_models
from benchmarks.process import worker_command
from benchmarks.report import LatencyReport, check_output, write_json
from benchmarks.synthetic import write_checkpoint
from benchmarks.workload import Workload

LATENCY = """
Torch fp32 (BlenderbotForConditionalGeneration.generate) against an exported folder in the stock ORTModelForSeq2SeqLM.
The backends run in processes of their own and take turns, round by round, on the same token ids with the same decoding
settings. The exported model runs twice, in two processes, to show how far the figures of one and the same thing differ.
Without --checkpoint and --exported a synthetic model of the 400M shape is made and exported to int8 first, in a cache
folder: once, in a few minutes, with 8 GB of memory and 1.2 GB of disk.
"""
SYNTHETIC = """
Write a checkpoint in the exact shape of facebook/blenderbot-400M-distill (730 MB) with random weights: good for speed
and numeric fidelity, and for nothing else.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure an exported Blenderbot model.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    latency = commands.add_parser("latency", help="time one reply at a time, against torch fp32", description=LATENCY)
    latency.add_argument("--checkpoint", metavar="DIR_OR_ID", help="checkpoint: a folder or a Hub id")
    latency.add_argument("--exported", type=Path, metavar="DIR", help="folder that `python -m export` made of it")
    latency.add_argument(
        "--beams",
        type=_positive,
        nargs="+",
        default=[10, 1],
        metavar="N",
        help="beam widths; 1 is greedy (default: 10 1)",
    )
    latency.add_argument(
        "--new-tokens", type=_positive, default=60, metavar="N", help="tokens to generate (default: %(default)s)"
    )
    latency.add_argument(
        "--source-tokens",
        type=_positive,
        default=28,
        metavar="N",
        help="length of the source, </s> included (default: %(default)s)",
    )
    latency.add_argument(
        "--rounds",
        type=_positive,
        default=10,
        metavar="N",
        help="replies per backend and beam width (default: %(default)s)",
    )
    latency.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of each backend (default: the physical cores)"
    )
    latency.add_argument("--output", type=Path, metavar="FILE.json", help="also write raw values and settings as JSON")
    latency.set_defaults(run=_latency)

    synthetic = commands.add_parser(
        "synthetic", help="write a random-weight checkpoint of the 400M shape", description=SYNTHETIC
    )
    synthetic.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder to write")
    synthetic.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the weights (default: %(default)s)")
    synthetic.add_argument("--force", action="store_true", help="replace a checkpoint that is there already")
    synthetic.set_defaults(run=_synthetic)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 2 for wrong arguments, 130 when interrupted, 1 for any other failure."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        options.run(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: Interrupted before the end; no result was written.", file=sys.stderr)
        return 130
    return 0


def _synthetic(options: argparse.Namespace) -> None:
    write_checkpoint(options.output_dir, seed=options.seed, force=options.force, progress=_progress)
    print(f"{options.output_dir}: random weights, for speed and numeric fidelity only")


def _latency(options: argparse.Namespace) -> None:
    if (options.checkpoint is None) != (options.exported is None):
        raise ArgumentError("--checkpoint and --exported go together; leave out both for a synthetic model.")
    if options.source_tokens < 2:
        raise ArgumentError("--source-tokens is at least 2: one token and </s>.")
    if options.output is not None:
        check_output(options.output)
    workload = Workload(
        beams=tuple(dict.fromkeys(options.beams)),
        new_tokens=options.new_tokens,
        source_tokens=options.source_tokens,
        rounds=options.rounds,
        threads=options.threads or environment.usable_cores(),
    )
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    models = (
        cached_models(_progress) if options.checkpoint is None else named_models(options.checkpoint, options.exported)
    )
    _check_lengths(workload, models)
    run = measure(_contestants(models), workload, _progress)
    report = LatencyReport(date, machine, environment.versions(), models, workload, run)
    print(report.as_text())
    if options.output is not None:
        write_json(report.as_json(), options.output)


def _contestants(models: Models) -> list[Contestant]:
    onnx = f"onnx {models.precision}".strip()
    return [
        Contestant("torch fp32", worker_command("torch"), models.checkpoint),
        Contestant(onnx, worker_command("onnxruntime"), models.exported),
        Contestant(f"{onnx} (again)", worker_command("onnxruntime"), models.exported),
    ]


def _check_lengths(workload: Workload, models: Models) -> None:
    for name, length in (("--source-tokens", workload.source_tokens), ("--new-tokens", workload.new_tokens)):
        if length > models.positions:
            raise ArgumentError(f"{name} is {length}, but the model has {models.positions} positions.")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
