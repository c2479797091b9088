from __future__ import annotations

import socket
import time

import pytest

from benchmarks.client import Client
from benchmarks.schema import Exchange
from tests.benchmarks.fake_server import PAUSE_S, TOKENS, FakeServer, running

PROMPT = "how are you today"


def client(server: FakeServer, *, timeout_s: float = 5.0) -> Client:
    return Client("127.0.0.1", server.server_port, len(PROMPT.split()), TOKENS, timeout_s)


def ask(mode: str, *, timeout_s: float = 5.0) -> Exchange:
    with running(mode) as server:
        return client(server, timeout_s=timeout_s).ask(PROMPT, time.perf_counter())


def test_reply_is_timed_and_counted() -> None:
    exchange = ask("honest")
    assert exchange.error == ""
    assert exchange.status == 200
    assert (exchange.tokens, exchange.prompt_tokens) == (TOKENS, 4)
    assert 0 <= exchange.start_s < 1
    assert PAUSE_S <= exchange.seconds < 5


def test_start_counts_from_when_the_run_began() -> None:
    with running("honest") as server:
        exchange = client(server).ask(PROMPT, time.perf_counter() - 7)
    assert exchange.error == ""
    assert 7 <= exchange.start_s < 12
    assert exchange.seconds < 5


@pytest.mark.parametrize(
    ("mode", "status", "error", "detail"),
    [
        ("busy", 503, "HTTP 503", "Too many wait."),
        ("broken", 500, "HTTP 500", "out of order"),
        ("babbles", 200, "malformed reply", "no reply with usage: hello"),
        ("mute", 200, "malformed reply", "no reply with usage: {}"),
        ("short", 200, "wrong length", "a reply of 4 tokens where 5 were expected"),
        ("deaf", 200, "wrong length", "a prompt of 3 tokens where 4 were sent"),
    ],
)
def test_failure_is_noted_by_kind_and_in_words(mode: str, status: int, error: str, detail: str) -> None:
    exchange = ask(mode)
    assert (exchange.status, exchange.error, exchange.detail) == (status, error, detail)


def test_tokens_of_a_reply_of_the_wrong_length_are_noted() -> None:
    exchange = ask("short")
    assert (exchange.tokens, exchange.prompt_tokens) == (TOKENS - 1, 4)


@pytest.mark.parametrize("mode", ["silent", "trickles"])
def test_reply_that_does_not_end_is_a_timeout(mode: str) -> None:
    exchange = ask(mode, timeout_s=0.1)
    assert (exchange.error, exchange.detail) == ("timeout", "no reply within 0.1 s")
    assert 0.1 <= exchange.seconds < 5


def test_connection_that_fails_is_noted() -> None:
    exchange = ask("hangs-up")
    assert exchange.error == "connection"
    assert exchange.detail.startswith("RemoteDisconnected: ")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    exchange = Client("127.0.0.1", port, 4, TOKENS, 5.0).ask(PROMPT, time.perf_counter())
    assert exchange.error == "connection"
    assert exchange.detail.startswith("ConnectionRefusedError: ")
    assert exchange.status is None
