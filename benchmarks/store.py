"""What conversations in Redis cost: commands and bytes of a reply, appends a second, memory of a conversation."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from redis import Redis

from benchmarks.errors import ServerError
from benchmarks.redis_server import RedisServer
from benchmarks.server_process import ServerProcess
from service.chat.conversation import Exchange, new_id
from service.chat.stores.redis import RedisStore

CONVERSATIONS, EXCHANGES = 20, 10
STORED = 1000
WRITERS = 32
# As long as the model's replies usually are, and a message of a line.
EXCHANGE = Exchange("I went to the sea with my sister and we ate fish there. " * 2, "That sounds nice. " * 6, 60, 30)
# What a store sends; see `service.chat.stores.redis`.
COMMANDS = ("zscore", "lrange", "exists", "evalsha", "multi", "exec")
YEAR_S = 365 * 24 * 3600.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class StoreCost:
    """What was found.

    Attributes:
        commands_per_reply: that a service sends for one message of a conversation that has begun.
        bytes_per_reply: in and out of Redis, for a message of a conversation of `EXCHANGES` exchanges.
        appends_per_s: by `WRITERS` threads of one process, each on the disk before it is acknowledged; the best round.
        conversation_bytes: memory in Redis of a conversation of `EXCHANGES` exchanges.
    """

    commands_per_reply: float
    bytes_per_reply: float
    appends_per_s: float
    conversation_bytes: float


def measure(seconds: float, rounds: int, progress: Progress) -> StoreCost:
    """Measure with a Redis server of its own and the service on the demo model.

    Args:
        seconds: of each round of appends.
        rounds: of appends.
        progress: told what is running.

    Raises:
        InputError: there is no `redis-server` on this machine.
        ServerError: the service or the server did not do as it should.
    """
    with TemporaryDirectory() as folder, RedisServer(Path(folder)) as server, Redis(port=server.port) as redis:
        progress("commands of a reply")
        commands, moved = _of_a_reply(redis, server.url())
        progress("memory of a conversation")
        redis.flushall()
        store = RedisStore(server.url(), capacity=10**6, ttl_s=YEAR_S)
        before = _memory(redis)
        for _ in range(STORED):
            _hold(store)
        conversation = (_memory(redis) - before) / STORED
        rates = []
        for number in range(rounds):
            progress(f"appends, round {number + 1} of {rounds}")
            redis.flushall()
            rates.append(_appends(store, seconds))
        store.close()
        return StoreCost(commands, moved, max(rates), conversation)


class _Traffic(NamedTuple):
    """What a server has seen so far: commands that came over the network, and bytes in both directions."""

    commands: float
    moved_bytes: float

    @classmethod
    def of(cls, redis: Redis) -> _Traffic:
        found: dict[str, Any] = redis.info("all")
        calls = {name.removeprefix("cmdstat_"): value["calls"] for name, value in found.items() if "cmdstat_" in name}
        # Those that the script runs are counted as well; it begins with the time of the conversation.
        commands = sum(calls.get(name, 0) for name in COMMANDS) - calls.get("evalsha", 0)
        return cls(commands, found["total_net_input_bytes"] + found["total_net_output_bytes"])


def _of_a_reply(redis: Redis, url: str) -> tuple[float, float]:
    """Commands that clients send and bytes that move, per reply at the end of conversations of some length."""
    command = [sys.executable, "-m", "service", "--model", "demo", "--port", "0", "--store", url]
    command += ["--reply-cache", "0"]
    with ServerProcess("redis", command) as service:
        service.wait_ready()
        sessions = ["" for _ in range(CONVERSATIONS)]
        for _ in range(EXCHANGES):
            sessions = [_say(service, session) for session in sessions]
        idle = _Traffic.of(redis), _Traffic.of(redis)
        for session in sessions:
            _say(service, session)
        after = _Traffic.of(redis)
    # Asking for the counters is counted too.
    commands = (after.commands - idle[1].commands) - (idle[1].commands - idle[0].commands)
    moved = (after.moved_bytes - idle[1].moved_bytes) - (idle[1].moved_bytes - idle[0].moved_bytes)
    return commands / CONVERSATIONS, moved / CONVERSATIONS


def _say(service: ServerProcess, session: str) -> str:
    connection = HTTPConnection(service.host, service.port, timeout=60)
    headers = {"X-Session-Id": session} if session else {}
    connection.request("POST", "/chatbot", json.dumps({"prompt": EXCHANGE.message}), headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    if response.status != 200:
        raise ServerError(f"The service did not reply as it should ({text}).")
    return str(response.headers["X-Session-Id"])


def _memory(redis: Redis) -> float:
    return float(redis.info("memory")["used_memory"])


def _hold(store: RedisStore) -> None:
    """A conversation of `EXCHANGES` exchanges."""
    conversation_id = new_id()
    for version in range(EXCHANGES):
        store.append(conversation_id, EXCHANGE, version=version)


def _appends(store: RedisStore, seconds: float) -> float:
    end = time.monotonic() + seconds

    def write(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            _hold(store)
            count += EXCHANGES
        return count

    started = time.monotonic()
    with ThreadPoolExecutor(WRITERS) as pool:
        written = sum(pool.map(write, range(WRITERS)))
    return written / (time.monotonic() - started)
