"""`load`: what chat servers bear."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.errors import ArgumentError
from benchmarks.load import LoadWorkload, measure
from benchmarks.load_report import LoadReport
from benchmarks.loops import ClosedLoop, Limit, Loop, OpenLoop
from benchmarks.output import write_json
from benchmarks.prompts import prompts
from benchmarks.servers import NAMES, OURS, prepare

DESCRIPTION = f"""
Chat servers under load, over HTTP on the loopback address: our service, the stock ORTModelForSeq2SeqLM behind one lock
and waitress, and the tutorial's Flask app with torch. Each runs in a process of its own; they take turns, run by run,
and are idle in between. All get the same prompts, each in a conversation of its own, and every reply must have the
number of tokens that was asked for. What they load is made in a cache folder when it is not there, as for `latency`.
Servers: {", ".join(NAMES)}.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("load", help="put chat servers under load", description=DESCRIPTION)
    arguments.add_workload(parser, rounds=3, rounds_help="runs of each server under each load")
    parser.add_argument(
        "--exported",
        type=Path,
        metavar="DIR",
        help="folder that `python -m export` made of it, for our service (default: int8, exported into the cache)",
    )
    parser.add_argument(
        "--servers",
        type=_names,
        default=(OURS, *NAMES),
        metavar="A,B,...",
        help="who takes part; one named twice runs twice (default: all, ours twice)",
    )
    loads = parser.add_mutually_exclusive_group()
    loads.add_argument(
        "--clients",
        type=arguments.positive,
        nargs="+",
        default=[1, 4],
        metavar="N",
        help="closed loop: clients that each send the next request when the last reply has come (default: 1 4)",
    )
    loads.add_argument(
        "--rate",
        type=arguments.above_zero,
        nargs="+",
        metavar="R",
        help="open loop: requests a second that come by chance, whatever the server does",
    )
    parser.add_argument(
        "--in-flight",
        type=arguments.positive,
        default=64,
        metavar="N",
        help="with --rate, requests under way at the most; more are counted as not sent (default: %(default)s)",
    )
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument(
        "--seconds",
        type=arguments.above_zero,
        default=30.0,
        metavar="S",
        help="a run sends its last request by then, and waits for all replies (default: %(default)g)",
    )
    lengths.add_argument(
        "--requests", type=arguments.positive, metavar="N", help="requests a run, however long it takes"
    )
    parser.add_argument(
        "--beams",
        type=arguments.positive,
        default=10,
        metavar="N",
        help="beam width; 1 is greedy (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.above_zero,
        default=300.0,
        metavar="S",
        help="seconds after which a request is given up (default: %(default)g)",
    )
    parser.add_argument("--stream", action="store_true", help="ask our service for server-sent events")
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="of prompts and arrivals")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.new_tokens < 2:
        raise ArgumentError("--new-tokens is at least 2: one token and </s>.")
    arguments.check_workload(options)
    cache = Cache()
    checkpoint = arguments.checkpoint(options, cache)
    if options.new_tokens == checkpoint.positions:
        raise ArgumentError(
            f"--new-tokens is {options.new_tokens}, but a reply of our service has one less at the most."
        )
    workload = LoadWorkload(
        loops=_loops(options),
        limit=Limit(None if options.requests else options.seconds, options.requests),
        rounds=options.rounds,
        beams=options.beams,
        new_tokens=options.new_tokens,
        source_tokens=options.source_tokens,
        threads=options.threads or environment.usable_cores(),
        timeout_s=options.timeout,
        stream=options.stream,
        seed=options.seed,
    )
    exported = None if options.exported is None else options.exported.expanduser()
    line_up = prepare(options.servers, checkpoint, exported, workload, cache, arguments.progress)
    texts = prompts(checkpoint.folder, workload.source_tokens, seed=workload.seed)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    # A reply that is cut at its full length ends in </s> when the settings say so; no server counts that one.
    counted = workload.new_tokens - (line_up.decoding.get("forced_eos_token_id") is not None)
    journal = arguments.journal(options, [repr(workload), [server.command for server in line_up.servers]])
    outcome = measure(line_up.servers, workload, texts, counted, arguments.progress, journal)
    report = LoadReport(
        date,
        machine,
        environment.versions(),
        checkpoint,
        line_up.decoding,
        workload,
        counted,
        outcome,
        line_up.missing,
    )
    print(report.as_text())
    if options.output is not None:
        write_json(report.as_json(), options.output)
    journal.finish()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(f"there is no server {unknown!r}; choose from {', '.join(NAMES)}")
    if max(Counter(names).values()) > 2:
        raise argparse.ArgumentTypeError("a server runs twice at most")
    return names


def _loops(options: argparse.Namespace) -> tuple[Loop, ...]:
    if options.rate is None:
        return tuple(map(ClosedLoop, dict.fromkeys(options.clients)))
    return tuple(OpenLoop(rate, options.in_flight) for rate in dict.fromkeys(options.rate))
