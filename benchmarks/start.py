"""`start`: what it takes to serve: seconds until a server is ready, the memory it holds, and its first reply."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks import arguments, output, servers
from benchmarks.client import Client
from benchmarks.errors import ServerError
from benchmarks.figures import largest, smallest
from benchmarks.output import progress
from benchmarks.process import ServerProcess, peak_bytes
from benchmarks.results import START, Results
from benchmarks.schema import Start, Starts
from benchmarks.servers import TIMEOUT_S, TITLES, LineUp, Server, title
from benchmarks.session import Session

REPLIES = 3
TIMES = ("ready_s", "first_reply_s", "later_reply_s")
MEMORY = ("ready_bytes", "peak_bytes")
DESCRIPTION = """
The servers of `load`, one after the other: seconds from the start of the process until it says that it is ready, with
files that were read before, the memory that it holds then and after some replies, and how long its first reply takes.
"""


def measure(line_up: LineUp, rounds: int, session: Session) -> dict[str, list[Start]]:
    """Start each server in turn, ask it, and end it; of several starts the first is not kept.

    Returns the starts by label; a `ServerError` is raised for a server that is no rival.
    """
    starts: dict[str, list[Start]] = {}
    for number in range(-1 if rounds > 1 else 0, rounds):
        for server in (server for server in line_up.servers if server.label not in session.missing):
            progress(f"start {number + 1} of {rounds}: {server.label}")
            try:
                start = _start(server, line_up)
            except ServerError as error:
                session.leave_out(server.label, error, rival=server.rival)
                continue
            if number >= 0:
                starts.setdefault(server.label, []).append(start)
    return starts


def _start(server: Server, line_up: LineUp) -> Start:
    started = time.perf_counter()
    with ServerProcess(server.label, server.command) as process:
        process.wait_ready()
        ready_s = time.perf_counter() - started
        ready_bytes = psutil.Process(process.pid).memory_info().rss
        client = Client(process.host, process.port, line_up.sizes.source_tokens, line_up.reply_tokens, TIMEOUT_S)
        seconds = []
        for prompt in line_up.prompts[:REPLIES]:
            exchange = client.ask(prompt, started)
            if exchange.error:
                failure = f"{exchange.error}: {exchange.detail}"
                raise ServerError(f"The {server.label} server did not reply as it should: {failure}.")
            seconds.append(exchange.seconds)
        return Start(
            ready_s=ready_s,
            first_reply_s=seconds[0],
            later_reply_s=seconds[-1],
            ready_bytes=ready_bytes,
            peak_bytes=peak_bytes(process.pid),
        )


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("start", help="memory of chat servers and time to ready", description=DESCRIPTION)
    arguments.add_workload(parser, 3, "starts of each server that count")
    servers.add_options(parser, tuple(TITLES))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    session = Session(options.output)
    checkpoint = session.checkpoint(options)
    line_up = servers.prepare(options, checkpoint, session)
    session.begin(checkpoint, **line_up.sizes.model_dump(), rounds=options.rounds, replies=REPLIES)
    starts = measure(line_up, options.rounds, session)
    session.finish(Starts, START, section, results=starts)


def section(results: Results) -> Iterator[str]:
    """Seconds and memory of every server."""
    rows = [
        (
            title(label),
            *(str(smallest([getattr(start, name) for start in starts])) for name in TIMES),
            *(f"{largest([getattr(start, name) for start in starts]).best / 1e6:,.0f}" for name in MEMORY),
        )
        for label, starts in results.starts().items()
    ]
    if rows:
        yield output.heading("Memory and start of the servers")
        columns = ("", "ready s", "first reply s", "later reply s", "MB when ready", "MB at most")
        yield output.table(columns, rows)
        yield output.paragraph("With files read before; the best of all starts, in brackets shortest and longest.")
