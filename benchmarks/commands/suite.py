"""`suite`: all parts, and the report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import environment, suite
from benchmarks.commands import arguments, report
from benchmarks.errors import BenchmarkError

SHORT_RESULTS = report.RESULTS / "short"
DESCRIPTION = """
Run the parts one after the other, from nothing: models, exports and the environments of rivals are made in the cache.
An interrupted suite goes on where it stopped when it is started again: finished parts, rounds and runs are kept. In the
end the report is written, of what is there even if a part failed.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("suite", help="all parts, and the report", description=DESCRIPTION)
    parser.add_argument(
        "--short", action="store_true", help="torch fp32, stock Optimum int8 and ours int8 only, in few rounds"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="folder for results and report (default: one in benchmarks/results that is named after the machine, with "
        "--short benchmarks/results/short)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    parts = suite.SHORT if options.short else suite.FULL
    own = SHORT_RESULTS if options.short else report.RESULTS / environment.slug(environment.machine())
    results = (options.results or own).expanduser().resolve()
    failures = suite.run(parts, results, arguments.progress)
    report.write(results)
    if results.parent == report.RESULTS and results != SHORT_RESULTS:
        report.compare(report.RESULTS)
    if failures:
        told = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures)
        raise BenchmarkError(f"{len(failures)} of {len(parts)} parts failed ({told}); start again to run them again.")
