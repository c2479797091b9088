"""A client that ends its side of the connection and waits gets its answers; one that goes away stops costing."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.process import ServiceProcess
from tests.service.serving.test_connections import MESSAGES, get, post

MESSAGE = post("/chatbot", {"prompt": "Hello there"})
STREAM = post("/chatbot", {"prompt": "Hello there", "stream": True})
COMPLETION = post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 120})
COMPLETION_STREAM = post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 120, "stream": True})
LONG = [MESSAGE, STREAM, COMPLETION, COMPLETION_STREAM]
SEVERAL = get("/livez") + MESSAGE + get("/openapi.json") + get("/nothing") + get("/livez")
# News of a connection is looked at once the answer at hand is complete.
BETWEEN_ANSWERS = """
import time
from service.serving.connections import Connection
handle_read = Connection.handle_read
def handle_read_late(connection):
    while connection.requests:
        time.sleep(0.01)
    handle_read(connection)
Connection.handle_read = handle_read_late
"""
NAMES = ["message", "stream", "completion", "completion stream"]


@pytest.fixture(scope="module")
def service(long_export: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess("--model", long_export, "--store", "memory") as process:
        yield process.wait_ready()


def answers(service: ServiceProcess, request: bytes, *, pause_s: float = 0.0) -> bytes:
    """All that comes back for a request after whose last byte the client has ended its side."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(request)
        time.sleep(pause_s)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
    return received


def statuses(received: bytes) -> list[bytes]:
    """Of the answers, without those that only say that there will be one."""
    return [status for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received) if status != b"100"]


@pytest.mark.parametrize("pause_s", [0.0, 0.3], ids=["at once", "later"])
@pytest.mark.parametrize("request_", LONG, ids=NAMES)
def test_who_ends_its_side_and_waits_gets_the_reply(service: ServiceProcess, request_: bytes, pause_s: float) -> None:
    whole = request_.replace(b"Host", b"Connection: close\r\nHost", 1)
    received = answers(service, whole, pause_s=pause_s)
    assert statuses(received) == [b"200"]
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(whole)
        usual = b"".join(iter(lambda: connection.recv(65536), b""))
    assert text(received) == text(usual)


def text(received: bytes) -> bytes:
    """The reply in an answer, however it came."""
    pieces = re.findall(rb'"(?:delta|content)":\s*"((?:[^"\\]|\\.)*)"', received)
    return b"".join(pieces) or received.rpartition(b"\r\n\r\n")[2]


def test_each_of_several_requests_is_answered(service: ServiceProcess) -> None:
    assert statuses(answers(service, SEVERAL)) == [b"200", b"200", b"200", b"404", b"200"]


def test_each_is_answered_when_the_end_is_seen_between_two_of_them(short_export: Path) -> None:
    with ServiceProcess("--model", short_export, "--store", "memory", planted=BETWEEN_ANSWERS) as service:
        service.wait_ready()
        assert statuses(answers(service, SEVERAL)) == [b"200", b"200", b"200", b"404", b"200"]


def test_half_a_request_after_the_last_one_is_not_waited_for(service: ServiceProcess) -> None:
    started = time.monotonic()
    assert statuses(answers(service, MESSAGE + b"GET /livez HTT")) == [b"200"]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("path", ["/livez", "/static/docs/swagger-ui-bundle.js"])
def test_an_old_client_gets_what_needs_no_work(service: ServiceProcess, path: str) -> None:
    received = answers(service, get(path).replace(b"HTTP/1.1", b"HTTP/1.0"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert int(re.findall(rb"Content-Length: (\d+)", head)[0]) == len(body)


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("request_", LONG, ids=NAMES)
def test_who_goes_away_stops_costing(service: ServiceProcess, request_: bytes, version: bytes) -> None:
    before = service.metric("chatbot_cancelled_total")
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(request_.replace(b"HTTP/1.1", version))
        end = time.monotonic() + 10
        while not service.metric("chatbot_batch_rows"):
            assert time.monotonic() < end, "nothing is computed"
    service.wait_answered()
    assert service.metric("chatbot_cancelled_total") == before + 1
