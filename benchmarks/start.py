"""`start`: what it takes to serve: seconds until a server is ready, the memory it holds, and its first reply."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import session
from benchmarks.client import Client
from benchmarks.environment import peak_bytes
from benchmarks.errors import ServerError
from benchmarks.figures import largest, smallest
from benchmarks.journal import Journal
from benchmarks.process import ServerProcess
from benchmarks.results import Results
from benchmarks.schema import Missing, Sizes, Start, Starts
from benchmarks.servers import NAMES, LineUp, Server, prepare, title
from benchmarks.session import Session, progress
from benchmarks.tables import Block, Heading, Prose, Table

REPLIES = 3
TIMEOUT_S = 300.0
TIMES = ("ready_s", "first_reply_s", "later_reply_s")
MEMORY = ("ready_bytes", "peak_bytes")
DESCRIPTION = """
The servers of `load`, one after the other: seconds from the start of the process until it says that it is ready, with
files that were read before, the memory that it holds then and after some replies, and how long its first reply takes.
"""


def measure(
    line_up: LineUp, source_tokens: int, rounds: int, progress: Callable[[str], None], journal: Journal
) -> tuple[dict[str, list[Start]], list[Missing]]:
    """Start each server in turn, ask it, and end it; of several starts the first is not kept.

    Returns the starts by label, and the rivals that did not start; a `ServerError` is raised for a server that is none.
    """
    starts: dict[str, list[Start]] = {}
    missing: dict[str, str] = {}
    for number in range(-1 if rounds > 1 else 0, rounds):
        for server in (server for server in line_up.servers if server.label not in missing):
            progress(f"start {number + 1} of {rounds}: {server.label}")
            try:
                work = lambda server=server: _start(server, line_up, source_tokens).model_dump()  # noqa: E731
                stored = journal.get_or(f"start {number}, {server.label}", work)
            except ServerError as error:
                if not server.rival:
                    raise
                progress(f"{server.label} is missing: {error}")
                missing[server.label] = str(error).rstrip(".")
                continue
            if number >= 0:
                starts.setdefault(server.label, []).append(Start.model_validate(stored))
    return starts, [Missing(name=name, reason=reason) for name, reason in missing.items()]


def _start(server: Server, line_up: LineUp, source_tokens: int) -> Start:
    import psutil

    started = time.perf_counter()
    with ServerProcess(server.label, server.command) as process:
        process.wait_ready()
        ready_s = time.perf_counter() - started
        ready_bytes = psutil.Process(process.pid).memory_info().rss
        client = Client(process.host, process.port, source_tokens, line_up.reply_tokens, TIMEOUT_S)
        seconds = []
        for prompt in line_up.prompts[:REPLIES]:
            now = time.perf_counter()
            exchange = client.ask(prompt, now, now)
            if exchange.error:
                failure = f"{exchange.error}: {exchange.detail}"
                raise ServerError(f"The {server.label} server did not reply as it should: {failure}.")
            seconds.append(exchange.seconds)
        times = {"ready_s": ready_s, "first_reply_s": seconds[0], "later_reply_s": seconds[-1]}
        return Start(**times, ready_bytes=ready_bytes, peak_bytes=peak_bytes(process.pid))


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("start", help="memory of chat servers and time to ready", description=DESCRIPTION)
    session.add_workload(parser, 3, "starts of each server that count")
    parser.add_argument("--exported", type=Path, metavar="DIR", help="as for `load`")
    servers = session.names_of(NAMES, "server")
    parser.add_argument("--servers", type=servers, default=NAMES, metavar="A,B,...", help="as for `load`")
    session.number(parser, "--beams", 10, "beam width; 1 is greedy")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    current = Session(options)
    checkpoint = current.checkpoint()
    sizes = Sizes.model_validate(options, from_attributes=True)
    line_up = prepare(
        options.servers, checkpoint, options.exported, sizes, current.cache, progress, timeout_s=TIMEOUT_S
    )
    head = current.begin(sizes, options.rounds, [server.command for server in line_up.servers])
    starts, missing = measure(line_up, sizes.source_tokens, options.rounds, progress, current.journal)
    settings = {"checkpoint": checkpoint.source, "rounds": options.rounds, "replies": REPLIES, **sizes.model_dump()}
    measurement = Starts(**head, settings=settings, missing=[*line_up.missing, *missing], results=starts)
    current.finish(measurement, section(Results(Path(), {"start": measurement})))


def section(results: Results) -> Iterator[Block]:
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
        yield Heading("Memory and start of the servers")
        yield Table(("", "ready s", "first reply s", "later reply s", "MB when ready", "MB at most"), rows)
        yield Prose("With files that were read before; the best of all starts, in brackets the shortest and longest.")
