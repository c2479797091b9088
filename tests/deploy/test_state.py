"""Where the head of a cluster is told to keep the cluster's state."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy import state
from service.conversations.conversation import Exchange
from service.conversations.redis import RedisStore
from service.errors import ConfigurationError
from tests.redis_server import RedisServer


@pytest.mark.parametrize(
    ("store", "address"),
    [
        ("redis://10.0.0.4:6379/0", "10.0.0.4:6379"),
        ("redis://10.0.0.4", "10.0.0.4:6379"),
        ("redis://bot:secret@store.example:6400/2?socket_timeout=1", "store.example:6400"),
        ("rediss://store.example/0", "rediss://store.example:6379"),
    ],
)
def test_the_server_that_keeps_the_conversations_keeps_the_state(store: str, address: str) -> None:
    assert state.environment(store) == {"RAY_REDIS_ADDRESS": address, "RAY_external_storage_namespace": "chatbot"}


@pytest.mark.parametrize(
    ("store", "arguments"),
    [
        ("redis://10.0.0.4:6379/0", ()),
        ("redis://:p%40ss@10.0.0.4/0", ("--redis-username", "default", "--redis-password", "p@ss")),
        ("redis://bot:secret@10.0.0.4/0", ("--redis-username", "bot", "--redis-password", "secret")),
    ],
)
def test_the_user_and_password_of_the_url_are_the_heads_too(store: str, arguments: tuple[str, ...]) -> None:
    assert tuple(state.arguments(store)) == arguments


@pytest.mark.parametrize("store", ["", "memory", "file", "/data/conversations.sqlite3", "unix:///run/redis.sock"])
def test_what_other_machines_cannot_reach_is_refused_in_a_sentence(store: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--store redis://10\.0\.0\.4:6379/0"):
        state.environment(store)


def test_to_look_at_a_store_takes_no_conversation_out_of_it(tmp_path: Path) -> None:
    names = [f"conversation {number}" for number in range(3)]
    with RedisServer(tmp_path) as redis:
        store = RedisStore(redis.url(), capacity=10, ttl_s=1e9, clock=lambda: time.time() - 1e7)
        for name in names:
            store.append(name, Exchange("Hello", "Hello yourself"), version=0)
        assert state.check(redis.url()) == ()
        assert all(name in store for name in names)
        store.close()
