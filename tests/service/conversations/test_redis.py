"""Conversations in Redis: shared by services, and safe when the server or an answer of it is lost."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Lost

from service.conversations.conversation import turns
from service.conversations.opening import open_store
from service.conversations.redis import NEEDS, RedisStore
from service.conversations.store import Store
from service.errors import ConfigurationError, StoreUnavailable
from tests.redis_server import RedisServer
from tests.service.conversations.conftest import said, say


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    with RedisServer(tmp_path) as server:
        yield server


def opened(server: RedisServer) -> RedisStore:
    return RedisStore(server.url(), capacity=1000, ttl_s=1000)


def test_it_is_chosen_by_url(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url(5), capacity=9, ttl_s=9)
    assert isinstance(store, RedisStore)
    assert store.place == f"Redis at 127.0.0.1:{redis_server.port}, database 5"
    store.close()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "redis://nowhere.invalid:6379", "redis://127.0.0.1/x", "unix:///no"]
)
def test_a_server_that_is_not_there_is_said_so(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis://127\.0\.0\.1:6379/0"):
        open_store(url, capacity=9, ttl_s=9)


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.startswith("service.conversations.redis"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"requirements/redis\.txt"):
        open_store("redis://127.0.0.1:6379/0", capacity=9, ttl_s=9)


def test_services_share_conversations_and_secret(redis_server: RedisServer) -> None:
    first, second = opened(redis_server), opened(redis_server)
    say(first, "shared", "one")
    say(second, "shared", "two")
    assert turns(first.read("shared").exchanges)[0::2] == ["one", "two"]
    assert first.secret == second.secret
    assert len(first.secret) == 64
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, []),
        ({"appendonly": "no"}, ["appendonly no, so an exchange that was acknowledged is lost when Redis stops"]),
        ({"appendfsync": "everysec"}, ["appendfsync everysec, so the exchanges of the last second are lost"]),
        (
            {"appendonly": "no", "appendfsync": "no", "maxmemory-policy": "allkeys-lru"},
            ["set appendonly yes there.", "maxmemory-policy allkeys-lru, so conversations disappear"],
        ),
    ],
)
def test_settings_under_which_conversations_may_be_lost_are_told(
    server: RedisServer, settings: dict[str, str], told: list[str]
) -> None:
    with Redis(port=server.port) as client:
        for name, value in settings.items():
            client.config_set(name, value)
    store = opened(server)
    assert len(store.concerns) == len(told)
    assert all(part in concern for part, concern in zip(told, store.concerns, strict=True))
    store.close()


def test_a_server_that_does_not_tell_its_settings_is_used_with_a_warning(server: RedisServer) -> None:
    with Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "default", "-config")
    store = opened(server)
    say(store, "a", "one")
    (concern,) = store.concerns
    assert all(f"{name} {needed}" in concern for name, (needed, _) in NEEDS.items())
    store.close()


def test_conversations_disappear_from_the_server_by_themselves(server: RedisServer) -> None:
    store = opened(server)
    say(store, "a", "one")
    with Redis(port=server.port) as client:
        assert 0 < client.ttl("chatbot:turns:a") <= 1001
    store.close()


def test_a_lost_server_is_said_so_and_used_again_when_it_is_back(server: RedisServer) -> None:
    store: Store = opened(server)
    say(store, "a", "one")
    server.stop()
    for use in (lambda: store.read("a"), lambda: store.append("a", said("two"), version=1), lambda: len(store)):
        with pytest.raises(StoreUnavailable, match="cannot be read or stored right now"):
            use()
    server.start()
    say(store, "a", "three")
    assert turns(store.read("a").exchanges)[0::2] == ["one", "three"]
    store.close()


@pytest.mark.parametrize("replace", [False, True])
def test_an_append_whose_answer_was_lost_is_not_done_twice(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    store = opened(server)
    say(store, "a", "one")
    lost = 0
    plain: Callable[..., Any] = Redis.parse_response

    def losing(client: Redis, connection: Any, command: str, **options: Any) -> Any:
        nonlocal lost
        answer = plain(client, connection, command, **options)
        if command == "EVALSHA" and lost < 2:
            lost += 1
            connection.disconnect()
            raise Lost("the answer was lost")
        return answer

    monkeypatch.setattr(Redis, "parse_response", losing)
    store.append("a", said("two"), version=1, replace=replace)
    assert lost == 2
    assert turns(store.read("a").exchanges)[0::2] == (["two"] if replace else ["one", "two"])
    store.close()


def test_a_value_of_another_program_under_its_name_is_no_crash(server: RedisServer) -> None:
    store = opened(server)
    with Redis(port=server.port) as client:
        client.set("chatbot:turns:a", "something else")
        client.zadd("chatbot:touched", {"a": 4e9})
    for use in (lambda: store.read("a"), lambda: store.append("a", said("one"), version=0)):
        with pytest.raises(StoreUnavailable):
            use()
    store.close()


@pytest.mark.parametrize("lost", ["chatbot:turns:a", "chatbot:touched"])
def test_a_conversation_of_which_the_server_has_dropped_a_part_is_gone_whole(server: RedisServer, lost: str) -> None:
    store = opened(server)
    say(store, "a", "one")
    with Redis(port=server.port) as client:
        client.delete(lost)
    assert "a" not in store
    store.append("a", said("two"), version=0)
    assert turns(store.read("a").exchanges)[0::2] == ["two"]
    store.close()
