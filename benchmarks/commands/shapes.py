"""`shapes`: export and replies of checkpoints of several sizes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.commands import arguments
from benchmarks.output import machine_line, wrapped, write_json
from benchmarks.shapes import NEW_TOKENS, SOURCE_TOKENS, ShapeCost, measure

FORMAT = 1
PRECISIONS = ("int8", "int4")
DESCRIPTION = f"""
Each checkpoint is exported with 8-bit and with 4-bit weights, by `python -m export --no-verify` in a process of its
own, and the engine writes replies of {NEW_TOKENS} tokens to {SOURCE_TOKENS}, greedy and with 10 beams, in another.
Memory is that of all processes together. `python -m benchmarks synthetic --shape` makes checkpoints of known sizes.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("shapes", help="export and replies by size of the model", description=DESCRIPTION)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="DIR", help="folders of checkpoints")
    arguments.add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_results(options)
    results = []
    for checkpoint in options.checkpoints:
        for precision in PRECISIONS:
            arguments.progress(f"{checkpoint.name}: {precision}")
            results.append({"checkpoint": checkpoint.name, **asdict(measure(checkpoint.absolute(), precision))})
    report: dict[str, Any] = {
        "benchmark": "shapes",
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": environment.machine(),
        "versions": environment.versions(),
        "settings": {"new_tokens": NEW_TOKENS, "source_tokens": SOURCE_TOKENS, "verification": "left out"},
        "results": results,
    }
    print("\n".join([*wrapped([machine_line(report["machine"]), ""]), *table(results)]))
    if options.output is not None:
        write_json(report, options.output)


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results as a Markdown table."""
    lines = [
        "| model | weights | folder | export | peak of the export | memory of the engine | greedy | 10 beams |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        cost = ShapeCost(**{name: value for name, value in result.items() if name != "checkpoint"})
        lines.append(
            f"| {result['checkpoint']} | {cost.precision} | {cost.size_bytes / 1e6:,.0f} MB | {cost.export_s:.0f} s | "
            f"{cost.export_peak_bytes / 1e9:.2f} GB | {cost.resident_bytes / 1e9:.2f} GB | {cost.greedy_s:.2f} s | "
            f"{cost.beam10_s:.2f} s |"
        )
    return lines
