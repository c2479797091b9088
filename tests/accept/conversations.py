"""A thousand conversations at once, fifty kills, and a million turns: nothing mixed, nothing lost, nothing slow."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoTokenizer

from service.chat.prompt import PromptFormat
from service.conversations.conversation import Exchange, new_id
from service.conversations.sqlite import SQLiteStore
from service.conversations.store import KEPT_EXCHANGES
from tests.accept import folders
from tests.accept.outcome import Line
from tests.redis_server import RedisServer
from tests.service import echo
from tests.service.process import ServiceProcess
from tests.service.soak import converse, kill_repeatedly

CONVERSATIONS, CLIENTS, EXCHANGES = 1000, 32, 6
KILLS = 50
STORED_CONVERSATIONS, STORED_EXCHANGES = 49_000, 10
LONG_CONVERSATIONS = 20
LOOKUPS = 5000
MOST_MS = 2.0
YEAR_S = 365 * 24 * 3600.0


def check() -> list[Line]:
    demo = folders.demo("int8")
    prompt_format = PromptFormat(AutoTokenizer.from_pretrained(demo), window=echo.EchoModel.window)
    with TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis:
        stores = {"memory": "memory", "SQLite": str(Path(folder) / "many.sqlite3"), "Redis": redis.url(0)}
        lasting = {"SQLite": str(Path(folder) / "killed.sqlite3"), "Redis": redis.url(1)}
        return [
            *(_histories(demo, name, store, prompt_format) for name, store in stores.items()),
            *(_kills(demo, name, store, prompt_format) for name, store in lasting.items()),
            *_lookups(Path(folder) / "million.sqlite3"),
        ]


def _histories(demo: Path, name: str, store: str, prompt_format: PromptFormat) -> Line:
    with ServiceProcess("--model", demo, "--store", store, "--queue", "64", planted=echo.PLANTED) as service:
        port = service.wait_ready().port
        mistakes = converse(port, prompt_format, conversations=CONVERSATIONS, clients=CLIENTS, exchanges=EXCHANGES)
    return Line(
        f"{CONVERSATIONS} conversations by {CLIENTS} clients, {name}: each has its own history, turn by turn",
        f"{CONVERSATIONS * EXCHANGES} exchanges, {len(mistakes)} mistakes{_first(mistakes)}",
        not mistakes,
    )


def _kills(demo: Path, name: str, store: str, prompt_format: PromptFormat) -> Line:
    outcome = kill_repeatedly(demo, store, prompt_format, kills=KILLS)
    return Line(
        f"kill -9 of the service at {KILLS} random moments, {name}: nothing acknowledged lost, doubled or half stored",
        f"{outcome.acknowledged} exchanges acknowledged, {outcome.interrupted} interrupted and sent again, "
        f"{len(outcome.mistakes)} mistakes{_first(outcome.mistakes)}",
        not outcome.mistakes and outcome.interrupted > KILLS,
    )


def _first(mistakes: list[str]) -> str:
    return f", such as: {mistakes[0]}" if mistakes else ""


def _lookups(path: Path) -> Iterator[Line]:
    """Times of single calls with a million turns in the file."""
    store = SQLiteStore(path, capacity=10**6, ttl_s=YEAR_S)
    ids = [new_id() for _ in range(STORED_CONVERSATIONS + LONG_CONVERSATIONS)]
    lengths = [STORED_EXCHANGES] * STORED_CONVERSATIONS + [KEPT_EXCHANGES] * LONG_CONVERSATIONS
    _fill(path, ids, lengths)
    started = time.perf_counter()
    store.close()
    store = SQLiteStore(path, capacity=10**6, ttl_s=YEAR_S)
    opening_s = time.perf_counter() - started
    draw = random.Random(3)
    typical = draw.sample(ids[:STORED_CONVERSATIONS], LOOKUPS)
    read = _milliseconds(lambda an_id: store.read(an_id), typical)
    known = _milliseconds(lambda an_id: an_id in store, typical)
    unknown = _milliseconds(lambda _: new_id() in store, typical)
    longest = _milliseconds(lambda an_id: store.read(an_id), ids[STORED_CONVERSATIONS:] * 20)
    exchange = Exchange("How are you? " * 4, "I am fine. " * 6, 128, 20)
    append = _milliseconds(lambda an_id: store.append(an_id, exchange, version=STORED_EXCHANGES), typical[:1000])
    turns = 2 * sum(lengths)
    store.close()
    yield Line(
        f"lookups with {turns:,} stored turns take under {MOST_MS:g} ms (99 of 100)",
        f"read {_shown(read)}, known id {_shown(known)}, unknown id {_shown(unknown)}; "
        f"a conversation of {2 * KEPT_EXCHANGES} turns {_shown(longest)}; append with its fsync {_shown(append)}; "
        f"opening and checking the file {opening_s:.1f} s, {path.stat().st_size / 1e6:.0f} MB",
        turns >= 1_000_000 and max(_late(times) for times in (read, known, unknown)) < MOST_MS,
    )


def _fill(path: Path, ids: list[str], lengths: list[int]) -> None:
    now = time.time()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO conversations (number, id, version, touched) VALUES (?, ?, ?, ?)",
            ((n, an_id, length, now - n) for n, (an_id, length) in enumerate(zip(ids, lengths, strict=True), 1)),
        )
        connection.executemany(
            "INSERT INTO exchanges VALUES (?, ?, ?, ?, 128, 20, 3, 0, '', '', '')",
            (
                (n, m, f"How are you? I am visitor {n}. " * 2, f"I am fine. {m} " * 6)
                for m in range(1, KEPT_EXCHANGES + 1)
                for n, length in enumerate(lengths, 1)
                if m <= length
            ),
        )


def _milliseconds(call: Callable[[str], object], ids: list[str]) -> list[float]:
    times = []
    for an_id in ids:
        started = time.perf_counter()
        call(an_id)
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)


def _late(times: list[float]) -> float:
    return times[int(0.99 * len(times))]


def _shown(times: list[float]) -> str:
    return f"{times[len(times) // 2]:.2f} ms (99 of 100: {_late(times):.2f})"
