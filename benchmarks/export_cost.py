"""`export-cost`: time, memory and size of exports of a checkpoint, ours and those of others."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
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


def cost(way: str, checkpoint: Checkpoint, session: Session) -> ExportCost | None:
    """The cost of one way, made anew; None for a rival that cannot be made."""
    session.cache.forget(CONTESTANTS[way].cached(checkpoint))
    ready = prepare([way], checkpoint, session)
    if not ready:
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
    rows = []
    for way in dict.fromkeys(options.ways):
        progress(f"export: {way}")
        rows.append(cost(way, checkpoint, session))
    session.finish(ExportCosts, EXPORT, section, results=[row for row in rows if row is not None])


def section(results: Results) -> Iterator[str]:
    """Seconds, memory and size of every way, by checkpoint."""
    for part in results.of_kind(ExportCosts).values():
        rows = [
            (title(row.name), f"{row.seconds:.0f}", f"{row.peak_bytes / 1e9:.2f}", f"{row.size_bytes / 1e6:,.0f}")
            for row in part.results
        ]
        yield output.heading("Export")
        yield output.table((part.settings["checkpoint"], "seconds", "peak GB", "MB on disk"), rows)
