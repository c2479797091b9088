"""Each kind of store, around one clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from redis import Redis

from service.conversations.conversation import Exchange
from service.conversations.memory import MemoryStore
from service.conversations.redis import RedisStore
from service.conversations.sqlite import SQLiteStore
from service.conversations.store import Store
from tests.redis_server import RedisServer


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class MakeStore(Protocol):
    def __call__(self, *, capacity: int = 3, ttl_s: float = 100) -> Store: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[MakeStore]:
    """Opens an empty store of each kind."""
    opened: list[Store] = []
    makers: dict[str, Callable[[int, float], Store]] = {
        "memory": lambda capacity, ttl_s: MemoryStore(capacity=capacity, ttl_s=ttl_s, clock=clock),
        "sqlite": lambda capacity, ttl_s: SQLiteStore(
            tmp_path / "conversations.sqlite3", capacity=capacity, ttl_s=ttl_s, clock=clock
        ),
        "redis": lambda capacity, ttl_s: RedisStore(
            request.getfixturevalue("redis_server").url(), capacity=capacity, ttl_s=ttl_s, clock=clock
        ),
    }
    if request.param == "redis":
        with Redis(port=request.getfixturevalue("redis_server").port) as client:
            client.flushall()

    def make(*, capacity: int = 3, ttl_s: float = 100) -> Store:
        opened.append(makers[request.param](capacity, ttl_s))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


def said(message: str, reply: str = "fine") -> Exchange:
    return Exchange(message, reply)


def say(store: Store, conversation_id: str, message: str, reply: str = "fine") -> None:
    """Go on with a conversation, or begin it."""
    version = store.read(conversation_id).version if conversation_id in store else 0
    store.append(conversation_id, said(message, reply), version=version)
