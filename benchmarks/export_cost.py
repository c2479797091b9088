"""`export-cost`: time, memory and size of exports of a checkpoint, ours and those of others."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import arguments, output
from benchmarks.checkpoints import Checkpoint, cost_path
from benchmarks.contestants import CONTESTANTS, prepare, title
from benchmarks.output import progress
from benchmarks.results import EXPORT, Results
from benchmarks.schema import ExportCost, ExportCosts
from benchmarks.session import Session

WAYS = [name for name, contestant in CONTESTANTS.items() if contestant.recipe or name.startswith("ours-")]
DESCRIPTION = f"""
Each export or conversion is made anew, in a process of its own, and put into the cache for the other commands: its
time, the largest memory of its processes together, and the size of the folder. Ways: {", ".join(WAYS)}.
"""
COLUMNS = ("checkpoint", "export", "most memory", "folder", "most memory of a reply", "greedy", "10 beams")


def cost(way: str, checkpoint: Checkpoint, session: Session) -> ExportCost | None:
    """The cost of one way, made anew; None for a rival that cannot be made."""
    progress(f"export: {way}")
    session.cache.forget(CONTESTANTS[way].cached(checkpoint))
    if not (ready := prepare([way], checkpoint, session)):
        return None
    fields = json.loads(cost_path(ready[0].folder).read_text(encoding="utf-8"))
    return ExportCost(name=way, title=title(way), **fields)


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("export-cost", help="time, memory and size of exports", description=DESCRIPTION)
    arguments.add_checkpoint(parser)
    arguments.names(parser, "--ways", WAYS, ("ours-int8", "stock-dynamic-int8"), "what to measure")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    session = Session(options.output)
    checkpoint = session.checkpoint(options)
    session.begin(checkpoint, ways=options.ways, verification="left out")
    rows = (cost(way, checkpoint, session) for way in dict.fromkeys(options.ways))
    session.finish(ExportCosts, EXPORT, section, results=[row for row in rows if row is not None])


def section(results: Results) -> Iterator[str]:
    """What exports took and what their folders take, of every checkpoint."""
    if rows := list(costs(results)):
        yield output.heading("Export")
        yield output.table(COLUMNS, rows)


def costs(results: Results, ways: Sequence[str] = WAYS) -> Iterator[tuple[str, ...]]:
    """A row for each way, of the smaller checkpoints first."""
    parts = results.of_kind(ExportCosts).values()
    for part in sorted(parts, key=lambda part: min((row.size_bytes for row in part.results), default=0)):
        checkpoint = part.settings["checkpoint"]
        for row in filter(lambda row: row.name in ways, part.results):
            greedy, wide = (results.replies(checkpoint, row.name, beams) for beams in (1, 10))
            yield (
                f"{checkpoint.rpartition('/')[2]}, {title(row.name)}",
                f"{row.seconds:.0f} s",
                f"{row.peak_bytes / 1e9:.2f} GB",
                f"{row.size_bytes / 1e6:,.0f} MB",
                "-" if wide is None else f"{(wide.peak_bytes or 0) / 1e9:.2f} GB",
                *("-" if timing is None else f"{min(timing.seconds):.2f} s" for timing in (greedy, wide)),
            )
