"""What it takes to serve: seconds until a server is ready, the memory it holds, and its first reply."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from benchmarks.client import Client
from benchmarks.errors import ServerError
from benchmarks.journal import Journal
from benchmarks.load import LoadWorkload, Server
from benchmarks.memory import peak_bytes
from benchmarks.runs import Missing
from benchmarks.server_process import ServerProcess

REPLIES = 3

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """One start of one server.

    Attributes:
        label: of the server.
        ready_s: from the start of the process until it says that it is ready; files may come from the page cache.
        first_reply_s: seconds of the first reply.
        later_reply_s: of the last one.
        ready_bytes: resident memory when it is ready.
        peak_bytes: largest resident memory after `REPLIES` replies.
    """

    label: str
    ready_s: float
    first_reply_s: float
    later_reply_s: float
    ready_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class StartRun:
    """All starts, and the rivals that did not start."""

    starts: tuple[Start, ...]
    missing: tuple[Missing, ...]


def measure(
    servers: Sequence[Server],
    workload: LoadWorkload,
    prompts: Sequence[str],
    reply_tokens: int,
    progress: Progress,
    journal: Journal,
) -> StartRun:
    """Start each server in turn, one at a time, ask it, and end it; of several starts the first is not kept.

    Raises:
        ServerError: a server that is no rival did not start, or did not reply.
    """
    starts: list[Start] = []
    missing: dict[str, str] = {}
    for number in range(-1 if workload.rounds > 1 else 0, workload.rounds):
        for server in servers:
            if server.label in missing:
                continue
            progress(f"start {number + 1} of {workload.rounds}: {server.label}")
            key = f"start {number}, {server.label}"
            try:
                kept = journal.get(key)
                if kept is None:
                    kept = asdict(_start(server, workload, prompts, reply_tokens))
                    journal.put(key, kept)
            except ServerError as error:
                if not server.rival:
                    raise
                progress(f"{server.label} is missing: {error}")
                missing[server.label] = str(error).rstrip(".")
                continue
            if number >= 0:
                starts.append(Start(**kept))
    return StartRun(tuple(starts), tuple(Missing(name, reason) for name, reason in missing.items()))


def _start(server: Server, workload: LoadWorkload, prompts: Sequence[str], reply_tokens: int) -> Start:
    started = time.perf_counter()
    with ServerProcess(server.label, server.command) as process:
        process.wait_ready()
        ready_s = time.perf_counter() - started
        ready_bytes = psutil.Process(process.pid).memory_info().rss
        client = Client(process.host, process.port, workload.source_tokens, reply_tokens, workload.timeout_s)
        seconds = [_ask(server, client, prompt) for prompt in prompts[:REPLIES]]
        return Start(server.label, ready_s, seconds[0], seconds[-1], ready_bytes, peak_bytes(process.pid))


def _ask(server: Server, client: Client, prompt: str) -> float:
    now = time.perf_counter()
    exchange: Any = client.ask(prompt, now, now)
    if exchange.error:
        raise ServerError(f"The {server.label} server did not reply as it should: {exchange.error}: {exchange.detail}.")
    return float(exchange.seconds)
