"""`start`: memory of chat servers, and the time until they are ready."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.load import LoadWorkload
from benchmarks.loops import ClosedLoop, Limit
from benchmarks.output import machine_line, wrapped, write_json
from benchmarks.prompts import prompts
from benchmarks.servers import NAMES, prepare
from benchmarks.start import REPLIES, Start, measure

FORMAT = 1
DESCRIPTION = """
The servers of `load`, one after the other: seconds from the start of the process until it says that it is ready, with
files that were read before, the memory that it holds then and after some replies, and how long its first reply takes.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("start", help="memory of chat servers and time to ready", description=DESCRIPTION)
    arguments.add_workload(parser, rounds=3, rounds_help="starts of each server that count")
    parser.add_argument("--exported", type=Path, metavar="DIR", help="as for `load`")
    parser.add_argument("--beams", type=arguments.positive, default=10, metavar="N", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_workload(options)
    cache = Cache()
    checkpoint = arguments.checkpoint(options, cache)
    workload = LoadWorkload(
        loops=(ClosedLoop(1),),
        limit=Limit(requests=REPLIES),
        rounds=options.rounds,
        beams=options.beams,
        new_tokens=options.new_tokens,
        source_tokens=options.source_tokens,
        threads=options.threads or environment.usable_cores(),
        timeout_s=300.0,
    )
    exported = None if options.exported is None else options.exported.expanduser()
    line_up = prepare(NAMES, checkpoint, exported, workload, cache, arguments.progress)
    texts = prompts(checkpoint.folder, workload.source_tokens)
    counted = workload.new_tokens - (line_up.decoding.get("forced_eos_token_id") is not None)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    journal = arguments.journal(options, [repr(workload), [server.command for server in line_up.servers]])
    found = measure(line_up.servers, workload, texts, counted, arguments.progress, journal)
    rows = []
    for server in line_up.servers:
        starts = [start for start in found.starts if start.label == server.label]
        if starts:
            rows.append(_row(server.label, server.title, starts))
    report = {
        "benchmark": "start",
        "format": FORMAT,
        "date": date,
        "machine": machine,
        "versions": environment.versions(),
        "settings": {
            "checkpoint": checkpoint.source,
            "beams": workload.beams,
            "new_tokens": workload.new_tokens,
            "source_tokens": workload.source_tokens,
            "threads": workload.threads,
            "rounds": workload.rounds,
            "replies": REPLIES,
        },
        "missing": [asdict(missing) for missing in (*line_up.missing, *found.missing)],
        "results": rows,
    }
    print("\n".join(_text(report)))
    if options.output is not None:
        write_json(report, options.output)
    journal.finish()


def _row(label: str, title: str, starts: list[Start]) -> dict[str, Any]:
    def middle(value: Callable[[Start], float]) -> float:
        return median(map(value, starts))

    return {
        "label": label,
        "title": title,
        "ready_s": middle(lambda start: start.ready_s),
        "first_reply_s": middle(lambda start: start.first_reply_s),
        "later_reply_s": middle(lambda start: start.later_reply_s),
        "ready_bytes": middle(lambda start: start.ready_bytes),
        "peak_bytes": max(start.peak_bytes for start in starts),
        "starts": [asdict(start) for start in starts],
    }


def _text(report: dict[str, Any]) -> list[str]:
    settings = report["settings"]
    columns = ("ready s", "first reply s", "later reply s", "MB when ready", "MB at most")
    lines = ["  ".join([f"{'':20}", *(f"{column:>13}" for column in columns)])]
    for row in report["results"]:
        values = [row["ready_s"], row["first_reply_s"], row["later_reply_s"]]
        cells = [f"{value:13.2f}" for value in values]
        cells += [f"{row[name] / 1e6:13.0f}" for name in ("ready_bytes", "peak_bytes")]
        lines.append("  ".join([f"{row['label']:20}", *cells]))
    head = [
        f"Start of chat servers, median of {settings['rounds']}, and {settings['replies']} replies at beam "
        f"{settings['beams']}",
        machine_line(report["machine"]),
        "",
    ]
    notes = [f"missing: {one['name']}: {one['reason']}." for one in report["missing"]]
    return [*wrapped(head), *lines, *wrapped(notes)]
