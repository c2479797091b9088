"""The Flask application on a real ASGI server: whole, in pieces, and left in the middle."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn

from deploy import bridge
from deploy.bridge import Bridge
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.fakes import FakeEngine

PATIENCE_S = 10.0


@contextmanager
def serving(app: Bridge) -> Iterator[int]:
    """Serve it with uvicorn, as Ray does; gives the port."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


@pytest.fixture
def runtime(faked: ServedModel) -> Runtime:
    return Runtime(ServiceConfig(store="memory"), faked)


@pytest.fixture
def port(runtime: Runtime) -> Iterator[int]:
    with serving(Bridge(create_app(runtime), threads=40, max_body_bytes=65_536)) as port:
        yield port


def connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)


def asked(port: int, *, stream: bool = False) -> http.client.HTTPConnection:
    """A connection on which a message has been sent."""
    opened = connection(port)
    opened.request("POST", "/chatbot", json.dumps({"prompt": "Hello", "stream": stream}))
    return opened


def wait_idle(engine: FakeEngine) -> None:
    end = time.monotonic() + PATIENCE_S
    while engine.rows or engine.waiting:
        assert time.monotonic() < end, "the engine works for nobody"
        time.sleep(0.01)


def test_a_whole_reply_has_its_headers_and_cookie(port: int) -> None:
    with closing(asked(port)) as opened:
        response = opened.getresponse()
        text = response.read().decode()
    assert response.status == 200
    assert text
    assert response.headers["X-Session-Id"] in response.headers["Set-Cookie"]
    assert int(response.headers["Content-Length"]) == len(text.encode())


def test_a_body_in_chunks_is_read_to_its_end(port: int) -> None:
    body = json.dumps({"prompt": "Hello " * 200}).encode()
    with closing(connection(port)) as opened:
        opened.request("POST", "/chatbot", iter([body[:10], body[10:500], body[500:]]), encode_chunked=True)
        assert opened.getresponse().status == 200


@pytest.mark.parametrize("size", [65_537, 3_000_000])
def test_a_body_over_the_limit_is_refused_by_its_length(port: int, size: int) -> None:
    with closing(connection(port)) as opened:
        opened.request("POST", "/chatbot", b"x" * size, {"Accept": "application/json"})
        response = opened.getresponse()
        assert response.status == 413
        assert "65536 bytes" in json.loads(response.read())["detail"]


def test_a_body_in_chunks_over_the_limit_is_refused(port: int) -> None:
    with closing(connection(port)) as opened:
        chunks = (b"x" * 20_000 for _ in range(20))
        opened.request("POST", "/chatbot", chunks, {"Accept": "application/json"}, encode_chunked=True)
        assert opened.getresponse().status == 413


def test_a_body_that_trickles_in_is_given_up(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "SENDING_TIMEOUT_S", 0.3)
    with (
        serving(Bridge(create_app(runtime), threads=1, max_body_bytes=65_536)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as slow,
    ):
        slow.sendall(b'POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n{"prompt": "He')
        assert slow.recv(100).split()[1] == b"400"


def test_clients_that_leave_in_the_middle_of_a_body_hold_no_threads(port: int) -> None:
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as half:
            half.sendall(b'POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n{"prompt": "He')
    with closing(asked(port)) as opened:
        assert opened.getresponse().status == 200


@pytest.mark.parametrize("target", ["/livez?%FF=1", "/livez?name=%C3%A9", "/nothing%20here?a=b&c=d"])
def test_odd_addresses_are_answered(port: int, target: str) -> None:
    with closing(connection(port)) as opened:
        opened.request("GET", target)
        assert opened.getresponse().status in {200, 404}


def test_bytes_that_are_no_ascii_in_a_query_are_no_error(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as raw:
        raw.sendall(b"GET /livez?q=\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert raw.recv(1000).split()[1] in {b"200", b"400"}


def test_a_stream_arrives_while_it_is_written(port: int, engine: FakeEngine) -> None:
    engine.gate.clear()
    with closing(asked(port, stream=True)) as opened:
        response = opened.getresponse()
        assert response.readline().startswith(b": the reply follows")
        assert engine.rows or engine.waiting
        engine.gate.set()
        assert b"event: done" in response.read()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_work_and_stores_nothing(
    port: int, engine: FakeEngine, runtime: Runtime, stream: bool
) -> None:
    engine.gate.clear()
    for _ in range(3):
        opened = asked(port, stream=stream)
        engine.wait_begun()
        if stream:
            opened.getresponse().readline()
        opened.close()
    wait_idle(engine)
    engine.gate.set()
    assert len(runtime.store) == 0
    with closing(asked(port)) as again:
        assert again.getresponse().status == 200


def test_who_leaves_a_long_stream_unread_leaves_no_thread_behind(faked: ServedModel) -> None:
    written = threading.Event()

    def application(environ: object, start_response: object) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        try:
            for _ in range(2000):
                yield b"x" * 100_000
        finally:
            written.set()

    with serving(Bridge(application, threads=1, max_body_bytes=10)) as port:
        opened = connection(port)
        opened.request("GET", "/")
        opened.getresponse().read(10)
        opened.close()
        assert written.wait(PATIENCE_S)
