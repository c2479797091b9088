"""`latency`: time one reply at a time."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.contestants import ENTRIES, default_names, prepare
from benchmarks.errors import ArgumentError
from benchmarks.floor import StepWeights
from benchmarks.latency import measure
from benchmarks.limits import kept_limits
from benchmarks.models import named_export
from benchmarks.output import write_json
from benchmarks.report import LatencyReport
from benchmarks.workload import Workload

DESCRIPTION = f"""
Torch fp32 (BlenderbotForConditionalGeneration.generate), an export of ours in the stock ORTModelForSeq2SeqLM, and the
same export in our own engine, twice, in two processes, to show how far the figures of one and the same thing differ.
Each runs in a process of its own and they take turns, round by round, on the same token ids with the same decoding
settings. What they load is made in a cache folder when it is not there: a synthetic model of the 400M shape unless
--checkpoint names another, exports of it, and for rivals their virtual environments and converted models. The first
time that takes minutes, 9 GB of memory and some GB of disk. A rival that cannot be installed or converted is reported
as missing. Contestants: {", ".join(ENTRIES)}.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "latency", help="time one reply at a time, against torch fp32", description=DESCRIPTION
    )
    arguments.add_workload(parser, rounds=10, rounds_help="replies per contestant and beam width")
    parser.add_argument(
        "--exported",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders that `python -m export` made of it, one a precision (default: exported into the cache)",
    )
    line_up = parser.add_mutually_exclusive_group()
    line_up.add_argument("--rivals", action="store_true", help="add ours-int4 and the engines of others")
    line_up.add_argument(
        "--contestants",
        type=_names,
        metavar="A,B,...",
        help="who takes part instead of the usual ones; one named twice runs twice",
    )
    parser.add_argument(
        "--beams",
        type=arguments.positive,
        nargs="+",
        default=[10, 1],
        metavar="N",
        help="beam widths; 1 is greedy (default: 10 1)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_workload(options)
    exports = _exports(options.exported)
    cache = Cache()
    checkpoint = arguments.checkpoint(options, cache)
    workload = Workload(
        beams=tuple(dict.fromkeys(options.beams)),
        new_tokens=options.new_tokens,
        source_tokens=options.source_tokens,
        rounds=options.rounds,
        threads=options.threads or environment.usable_cores(),
    )
    weights = StepWeights.of(checkpoint.folder)
    names = options.contestants or default_names(next(iter(exports), "int8"), rivals=options.rivals)
    contestants, missing = prepare(names, checkpoint, exports, cache, arguments.progress)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    journal = arguments.journal(options, [repr(workload), [[one.label, str(one.path)] for one in contestants]])
    limits = kept_limits(journal, workload.threads, arguments.progress)
    outcome = measure(contestants, workload, arguments.progress, journal)
    versions = environment.versions()
    report = LatencyReport(date, machine, versions, checkpoint, workload, outcome, limits, weights, missing)
    print(report.as_text())
    if options.output is not None:
        write_json(report.as_json(), options.output)
    journal.finish()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = next((name for name in names if name not in ENTRIES), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(f"there is no contestant {unknown!r}; choose from {', '.join(ENTRIES)}")
    if all(ENTRIES[name].other_model for name in names):
        raise argparse.ArgumentTypeError("at least one contestant must run the checkpoint itself")
    if max(Counter(names).values()) > 2:
        raise argparse.ArgumentTypeError("a contestant runs twice at most")
    return names


def _exports(folders: list[Path]) -> dict[str, Path]:
    exports: dict[str, Path] = {}
    for folder in map(Path.expanduser, folders):
        precision = named_export(folder)
        if precision in exports:
            raise ArgumentError(f"--exported names two folders with {precision} weights; one a precision is enough.")
        exports[precision] = folder
    return exports
