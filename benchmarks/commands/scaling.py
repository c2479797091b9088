"""`scaling`: how the cost of a reply grows with beams, lengths, clients and threads."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.contestants import ENTRIES, prepare
from benchmarks.errors import ArgumentError
from benchmarks.output import machine_line, wrapped, write_json
from benchmarks.scaling import CLIENTS, Point, clients_points, points, reply_points

FORMAT = 1
DEFAULT = ("ours-int8", "stock-dynamic-int8")
DESCRIPTION = """
One thing grows at a time: beams from 1 to 10, source from 8 to 128 tokens, reply from 8 to 60, threads from 1 to the
cores, all else as given; and over HTTP clients from 1 to 16. Contestants take turns, round by round.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("scaling", help="how cost grows", description=DESCRIPTION)
    arguments.add_workload(parser, rounds=3, rounds_help="replies, and runs under load, of each contestant and point")
    parser.add_argument("--exported", type=Path, metavar="DIR", help="as for `load`: an int8 export")
    parser.add_argument(
        "--contestants",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        default=DEFAULT,
        metavar="A,B,...",
        help=f"of those of `latency` (default: {','.join(DEFAULT)})",
    )
    parser.add_argument(
        "--seconds", type=arguments.above_zero, default=15.0, metavar="S", help="of a run under load (default: 15)"
    )
    parser.add_argument(
        "--clients",
        type=arguments.positive,
        nargs="+",
        default=list(CLIENTS),
        metavar="N",
        help=f"over HTTP (default: {' '.join(map(str, CLIENTS))})",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_workload(options)
    unknown = next((name for name in options.contestants if name not in ENTRIES), None)
    if unknown is not None:
        raise ArgumentError(f"There is no contestant {unknown!r}; choose from {', '.join(ENTRIES)}.")
    cache = Cache()
    checkpoint = arguments.checkpoint(options, cache)
    threads = options.threads or environment.usable_cores()
    base = Point(10, options.source_tokens, options.new_tokens, threads)
    exports = {} if options.exported is None else {"int8": options.exported.expanduser()}
    ready, missing = prepare(options.contestants, checkpoint, exports, cache, arguments.progress)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    names = [one.label for one in ready]
    journal = arguments.journal(options, [checkpoint.fingerprint, names, asdict(base), options.rounds, options.seconds])
    longest = checkpoint.positions
    replies, failed = reply_points(ready, points(base, longest), options.rounds, arguments.progress, journal)
    served = clients_points(checkpoint, exports.get("int8"), options, threads, cache, arguments.progress, journal)
    report = {
        "benchmark": "scaling",
        "format": FORMAT,
        "date": date,
        "machine": machine,
        "versions": environment.versions(),
        "settings": {"checkpoint": checkpoint.source, **asdict(base), "rounds": options.rounds},
        "missing": [asdict(one) for one in (*missing, *failed)],
        "replies": replies,
        "clients": served,
    }
    print("\n".join(_text(report)))
    if options.output is not None:
        write_json(report, options.output)
    journal.finish()


def _text(report: dict[str, Any]) -> list[str]:
    settings = report["settings"]
    lines = []
    for axis in ("beams", "source_tokens", "new_tokens", "threads"):
        lines += ["", axis.replace("_", " ")]
        for label in dict.fromkeys(row["label"] for row in report["replies"]):
            rows = [row for row in report["replies"] if row["axis"] == axis and row["label"] == label]
            lines.append(f"  {label}: " + ", ".join(f"{row[axis]}: {row['median_s']:.3f} s" for row in rows))
    lines += ["", "clients"]
    for label in dict.fromkeys(row["label"] for row in report["clients"]):
        rows = [row for row in report["clients"] if row["label"] == label]
        lines.append(f"  {label}: " + ", ".join(f"{row['clients']}: {row['replies_per_s']:.2f}/s" for row in rows))
    head = [
        f"How a reply's cost grows, from {settings['beams']} beams, {settings['source_tokens']} source tokens, "
        f"{settings['new_tokens']} generated, {settings['threads']} threads; median of {settings['rounds']} rounds",
        machine_line(report["machine"]),
    ]
    notes = [f"missing: {one['name']}: {one['reason']}." for one in report["missing"]]
    return wrapped([*head, *lines, *notes])
