"""`suite`: every part in turn, each in a process of its own; what an interrupted one has finished is not run again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import process, report, results
from benchmarks.environment import this_machine, versions
from benchmarks.errors import BenchmarkError
from benchmarks.journal import Journal, code
from benchmarks.session import progress

JOURNAL = ".suite.unfinished"
SHORT_RESULTS = results.FOLDER / "short"
DESCRIPTION = """
Run the parts one after the other, from nothing: models, exports and the environments of rivals are made in the cache.
An interrupted suite goes on where it stopped when it is started again: finished parts, rounds and runs are kept. In the
end the report is written, of what is there even if a part failed.
"""


@dataclass(frozen=True)
class Part:
    """One command of `python -m benchmarks`.

    Attributes:
        name: of its result file, without `.json`.
        arguments: of the command, without those that say where the result goes.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A part that did not end as it should, and how it ended."""

    name: str
    reason: str


def _part(name: str, arguments: str) -> Part:
    return Part(name, tuple(arguments.split()))


_BASICS = "latency --contestants torch-fp32,stock-dynamic-int8,ours-int8,ours-int8 --rounds"
SHORT = (
    _part("export-400m", "export-cost --ways ours-int8,stock-dynamic-int8"),
    # Twice, some minutes apart: other users of a machine may slow it down for as long.
    _part("latency-400m", f"{_BASICS} 3"),
    _part("load-400m", "load --servers ours,ours,stock-dynamic-int8 --clients 1 4 --rounds 2 --seconds 12"),
    _part("start-400m", "start --rounds 1"),
    _part("latency-again-400m", f"{_BASICS} 3"),
    _part("quality-demo", "quality --samples 100 --replies 20"),
)
FULL = (
    _part(
        "export-400m",
        "export-cost --ways "
        "ours-int8,ours-int4,ours-fp32,stock-dynamic-int8,optimum-fp32,openvino-int8,openvino-int4,ctranslate2-int8",
    ),
    _part(
        "latency-400m",
        "latency --rounds 8 --contestants torch-fp32,stock-int8,ours-int8,ours-int8,ours-int4,onnxruntime-int8,"
        "onnxruntime-int4,stock-dynamic-int8,openvino-int8,openvino-int4,ctranslate2-int8",
    ),
    # In a run of their own, since all together do not fit into 24 GB; it has its own reference and A/A pair.
    _part(
        "latency-variants-400m",
        "latency --rounds 6 --contestants torch-fp32,ours-int8,ours-int8,ours-fp32,torch-bf16,torch-dynamic-int8,"
        "torch-compile,optimum-fp32",
    ),
    _part("load-400m", "load --clients 1 4 --rounds 3 --seconds 20"),
    _part(
        "load-greedy-400m",
        "load --beams 1 --servers ours,ours,stock-dynamic-int8 --clients 1 8 --rounds 3 --seconds 15",
    ),
    _part("start-400m", "start"),
    _part("scaling-400m", "latency --growing --beams 10 --rounds 3 --contestants ours-int8,stock-dynamic-int8"),
    _part("clients-400m", "load --servers ours,stock-dynamic-int8 --clients 1 2 4 8 16 --seconds 15"),
    _part("quality-demo", "quality"),
)


def run_parts(parts: Sequence[Part], folder: Path, progress: Callable[[str], None]) -> list[Failure]:
    """Run the parts that an interrupted run has not finished; their results replace those that are there.

    Args:
        parts: in order.
        folder: for the JSON files.
        progress: told what is running and what remains.

    Returns:
        The parts that failed; the others have gone on without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = {name: value for name, value in asdict(this_machine()).items() if name != "load_average"}
    made_from = [[asdict(part) for part in parts], machine, versions(), code()]
    journal = Journal(folder / JOURNAL, json.loads(json.dumps(made_from)))
    failures: list[Failure] = []
    began = time.monotonic()
    for number, part in enumerate(parts, 1):
        place = f"== {number} of {len(parts)}: {part.name}"
        output = folder / f"{part.name}.json"
        if journal.get(part.name) is not None and output.is_file():
            progress(f"{place}: finished before the interruption, in {journal.get(part.name):.0f} s")
            continue
        rest = ", ".join(other.name for other in parts[number:]) or "the report"
        progress(f"{place}: running, {(time.monotonic() - began) / 60:.0f} minutes after the start; then {rest}")
        output.unlink(missing_ok=True)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks",
            *part.arguments,
            "--output",
            output,
            "--resume",
        ]
        ending = process.run(command, shown=True)
        if ending.code:
            failures.append(Failure(part.name, f"it {ending}"))
            progress(f"{place}: FAILED: it {ending}")
        else:
            journal.put(part.name, ending.seconds)
            progress(f"{place}: finished in {ending.seconds:.0f} s")
    if not failures:
        journal.finish()
    return failures


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("suite", help="all parts, and the report", description=DESCRIPTION)
    help_text = "torch fp32, stock Optimum int8 and ours int8 only, in few rounds"
    parser.add_argument("--short", action="store_true", help=help_text)
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="folder for results and report (default: one in benchmarks/results that is named after the machine, with "
        "--short benchmarks/results/short)",
    )
    parser.set_defaults(run=run, resume=True)


def run(options: argparse.Namespace) -> None:
    parts = SHORT if options.short else FULL
    own = SHORT_RESULTS if options.short else results.FOLDER / this_machine().folder
    folder = (options.results or own).expanduser().resolve()
    failures = run_parts(parts, folder, progress)
    report.write(folder)
    if folder.parent == results.FOLDER and folder != SHORT_RESULTS:
        report.compare(results.FOLDER)
    if failures:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures)
        raise BenchmarkError(
            f"{len(failures)} of {len(parts)} parts failed ({reasons}); start again to run them again."
        )
