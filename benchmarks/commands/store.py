"""`store`: what conversations in Redis cost."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks import environment
from benchmarks.commands import arguments
from benchmarks.errors import InputError
from benchmarks.output import machine_line, wrapped, write_json
from benchmarks.runs import Missing

FORMAT = 1
DESCRIPTION = """
Conversations in a Redis server of one's own, on this machine, which writes each exchange to the disk before it is
acknowledged: commands and bytes of a reply, appends a second, and memory of a conversation.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("store", help="cost of conversations in Redis", description=DESCRIPTION)
    parser.add_argument(
        "--rounds", type=arguments.positive, default=3, metavar="N", help="of appends (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=arguments.above_zero, default=5.0, metavar="S", help="of a round (default: %(default)s)"
    )
    arguments.add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_results(options)
    try:
        from benchmarks import store
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing; install requirements/redis.txt.") from error
    date = datetime.now(UTC).isoformat(timespec="seconds")
    missing: list[Missing] = []
    found: list[store.StoreCost] = []
    try:
        found.append(store.measure(options.seconds, options.rounds, arguments.progress))
    except InputError as error:
        missing.append(Missing("redis-server", str(error).rstrip(".")))
    report: dict[str, Any] = {
        "benchmark": "store",
        "format": FORMAT,
        "date": date,
        "machine": environment.machine(),
        "versions": environment.versions(),
        "settings": {
            "seconds": options.seconds,
            "rounds": options.rounds,
            "writers": store.WRITERS,
            "exchanges": store.EXCHANGES,
            "durability": "appendonly yes, appendfsync always",
        },
        "missing": [asdict(one) for one in missing],
        "results": [asdict(one) for one in found],
    }
    lines = [f"Conversations of {store.EXCHANGES} exchanges in Redis", machine_line(report["machine"]), ""]
    for one in found:
        lines += [
            f"{one.commands_per_reply:10.1f}  commands a reply",
            f"{one.bytes_per_reply:10,.0f}  bytes a reply, in and out",
            f"{one.appends_per_s:10,.0f}  appends a second by {store.WRITERS} threads, each on the disk",
            f"{one.conversation_bytes:10,.0f}  bytes of memory a conversation",
        ]
    lines += [f"missing: {one.name}: {one.reason}." for one in missing]
    print("\n".join(wrapped(lines)))
    if options.output is not None:
        write_json(report, options.output)
