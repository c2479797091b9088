"""What hostile clients do on the wire: injected headers, two lengths, slow senders, crowds that send nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.serving.server import MAX_HEADER_BYTES
from tests.service.process import ServiceProcess

BODY = json.dumps({"prompt": "Hello there"}).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
POST = b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
QUICK_END = """
import time, service.serving.connections, service.chat.prompt
service.serving.connections.SENDING_TIMEOUT_S = 2.0
encode = service.chat.prompt.PromptFormat.encode
def encode_slowly(self, turns, **named):
    time.sleep(3.5 if "slowly" in turns[-1] else 0.0)
    return encode(self, turns, **named)
service.chat.prompt.PromptFormat.encode = encode_slowly
"""
SMALL_CROWD = (
    "from service.serving import connections, listener; "
    "listener.CONNECTIONS = 45; connections.SENDING_TIMEOUT_S = 600.0"
)


@pytest.fixture(scope="module")
def service(short_export: Path) -> Iterator[ServiceProcess]:
    """A service that gives senders two seconds; nothing done to it may leave a stack trace in its log."""
    with ServiceProcess("--model", short_export, planted=QUICK_END) as process:
        yield process.wait_ready()
        assert "Traceback" not in process.log
        assert "smuggled" not in process.log


def connect(service: ServiceProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            received += more
    return received


def exchange(service: ServiceProcess, request: bytes) -> bytes:
    """Send raw bytes and read until the service closes the connection."""
    with connect(service) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        return everything(connection)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:100]
    return int(answer.split(b" ", 2)[1])


def alive(connection: socket.socket) -> bool:
    """Whether a request on a connection that stays open is answered."""
    connection.sendall(LIVEZ)
    return reply_status(connection) == 200


def reply_status(connection: socket.socket) -> int:
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        response.read()
        return response.status


def header_lines(answer: bytes) -> list[bytes]:
    return answer.partition(b"\r\n\r\n")[0].split(b"\r\n")


def get(*headers: bytes, path: bytes = b"/livez", method: bytes = b"GET") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("name", [b"X-Request-Id", b"X-Session-Id", b"Idempotency-Key", b"Origin"])
@pytest.mark.parametrize(
    "value",
    [b"a\nX-Evil: 1", b"a\rX-Evil: 1", b"a\r\n X-Evil: 1", b"a\r\n\tX-Evil: 1", b"a\0X-Evil: 1", b"a%0d%0aX-Evil: 1"],
)
def test_no_header_of_a_request_adds_one_to_the_answer(service: ServiceProcess, name: bytes, value: bytes) -> None:
    answer = exchange(service, get(name + b": " + value))
    assert status(answer) in {200, 400}
    assert not [line for line in header_lines(answer) if line.lower().startswith((b"x-evil", b" ", b"\t"))]
    assert b"X-Evil" not in b"".join(line for line in header_lines(answer) if line.lower().startswith(b"x-request-id"))


@pytest.mark.parametrize("value", ["a\\r\\nX-Evil: 1", "a\\nSet-Cookie: x=1", "%0d%0aX-Evil: 1"])
def test_no_session_id_of_a_body_adds_a_header(service: ServiceProcess, value: str) -> None:
    body = b'{"prompt": "Hello", "session_id": "' + value.encode() + b'"}'
    head = get(b"Content-Length: %d" % len(body), path=b"/chatbot", method=b"POST")
    answer = exchange(service, head + body)
    assert status(answer) == 404
    assert b"evil" not in answer.lower()
    assert not [line for line in header_lines(answer) if line.lower().startswith(b"set-cookie")]


@pytest.mark.parametrize(
    "path", [b"/%0d%0aX-Evil:%201", b"/%0aX-Evil", b"/%00%1b[31m%e2%80%a8", b"/sessions/%0d%0aX-Evil:1"]
)
def test_no_path_adds_a_header_or_steers_a_terminal(service: ServiceProcess, path: bytes) -> None:
    answer = exchange(service, get(path=path))
    assert status(answer) == 404
    assert not [line for line in header_lines(answer) if line.startswith(b"X-Evil")]
    body = answer.partition(b"\r\n\r\n")[2]
    assert not set(body) & set(b"\r\n\x1b\0")


@pytest.mark.parametrize(
    "method", [b"PUT", b"PATCH", b"DELETE", b"TRACE", b"CONNECT", b"PROPFIND", b"GET", b"X" * 1000]
)
def test_a_wrong_method_is_refused_by_name_and_echoes_nothing(service: ServiceProcess, method: bytes) -> None:
    answer = exchange(service, get(b"X-Secret: told", path=b"/chatbot", method=method))
    assert status(answer) == 405
    assert [line for line in header_lines(answer) if line.lower().startswith(b"allow: ") and b"POST" in line]
    assert b"told" not in answer


@pytest.mark.parametrize("method", [b"post", b"P\xc3\x96ST", b"POST\0", b"GET\t"])
def test_what_is_no_method_is_a_bad_request(service: ServiceProcess, method: bytes) -> None:
    assert status(exchange(service, get(path=b"/chatbot", method=method))) == 400


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d" % len(CHUNKED),
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length : 5",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: chunked\r\n , chunked",
        b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
    ],
)
def test_a_request_of_two_lengths_is_refused_and_nothing_after_it_is_read(
    service: ServiceProcess, headers: bytes
) -> None:
    answer = exchange(service, POST + headers + b"\r\n\r\n" + CHUNKED + SMUGGLED)
    assert status(answer) in {400, 501}
    assert len(re.findall(rb"HTTP/1\.\d \d{3} ", answer)) == 1


def test_chunks_in_an_old_version_are_refused(service: ServiceProcess) -> None:
    answer = exchange(service, b"POST /chatbot HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED + SMUGGLED)
    assert status(answer) == 400
    assert len(re.findall(rb"HTTP/1\.\d \d{3} ", answer)) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"GET /livez",
        b"GET  /livez HTTP/1.1",
        b"GET /livez HTTP/1.1 x",
        b"/livez",
        b"\xff\xfe\xfd",
        b"GET /livez HTTP/2.0",
        b"GET http://[::1/livez HTTP/1.1",
    ],
)
def test_old_and_broken_request_lines_are_answered_or_refused_in_full(service: ServiceProcess, line: bytes) -> None:
    answer = exchange(service, line + b"\r\n\r\n")
    assert status(answer) in {200, 400, 505}
    assert service.get("/livez").status == 200


@pytest.mark.parametrize(
    "target",
    [
        *(b"x:/livez", b"http:/livez", b"javascript:/livez", b"localhost/livez", b"livez", b"*/livez", b"\\livez"),
        *(b"/livez#", b"/livez#/nothing", b"/nothing#/../livez", b"http://localhost/livez#x", b"?/livez", b"#/livez"),
    ],
)
def test_an_address_that_a_proxy_may_read_as_another_path_is_refused(service: ServiceProcess, target: bytes) -> None:
    answer = exchange(service, get(path=target))
    assert status(answer) == 400
    assert len(re.findall(rb"HTTP/1\.\d \d{3} ", answer)) == 1


@pytest.mark.parametrize("target", [b"http://localhost/livez", b"HTTPS://LOCALHOST/livez", b"/livez?a=b", b"//livez"])
def test_a_path_or_its_address_is_answered(service: ServiceProcess, target: bytes) -> None:
    assert status(exchange(service, get(path=target))) == 200


@pytest.mark.parametrize(
    ("version", "options", "stays"),
    [
        (b"1.1", b"Connection: close, X", False),
        (b"1.1", b"Connection: TE,\tClose", False),
        (b"1.1", b"Connection: X\r\nConnection: close", False),
        (b"1.1", b"Connection: keep-alive, close", False),
        (b"1.1", b"Connection: closed, Keep-Alive, X", True),
        (b"1.0", b"Connection: Keep-Alive, X", True),
        (b"1.0", b"Connection: X", False),
        (b"1.0", b"Connection: keep-alive,close", False),
    ],
)
def test_a_connection_is_closed_or_kept_as_one_of_several_options_says(
    service: ServiceProcess, version: bytes, options: bytes, stays: bool
) -> None:
    request = b"GET /livez HTTP/" + version + b"\r\nHost: localhost\r\n" + options + b"\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(request)
        assert reply_status(connection) == 200
        with contextlib.suppress(ConnectionError):
            connection.sendall(get())
        assert bool(everything(connection)) == stays


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue, x=1", b"x , 100-CONTINUE"])
def test_who_expects_to_be_told_to_go_on_is_told(service: ServiceProcess, value: bytes) -> None:
    with connect(service) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\nExpect: %s\r\n\r\n" % (len(BODY), value))
        assert status(connection.recv(65536)) == 100
        connection.sendall(BODY)
        assert reply_status(connection) == 200


def test_headers_that_do_not_end_are_cut_off(service: ServiceProcess) -> None:
    started = b"GET /livez HTTP/1.1\r\n"
    for headers in (
        b"X: " + b"a" * MAX_HEADER_BYTES,
        b"".join(b"X-%d: a\r\n" % number for number in range(MAX_HEADER_BYTES)),
    ):
        # No byte more than is read: an answer is lost where bytes are left over.
        assert status(exchange(service, (started + headers)[:MAX_HEADER_BYTES])) == 431


def test_a_length_beyond_all_limits_is_refused_before_it_is_sent(service: ServiceProcess) -> None:
    for length in (b"99999999999999999999", b"%d" % (1 << 40)):
        request = b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
        assert status(exchange(service, request)) == 413


def test_slow_senders_are_closed_and_hold_up_nobody(service: ServiceProcess) -> None:
    beginnings = {
        "nothing": b"",
        "half a line": b"POST /cha",
        "half the headers": b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\n",
        "half the body": b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + BODY,
        "half a chunk": b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n30\r\n{",
    }
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(40) for _ in beginnings]
        for connection, beginning in zip(slow, list(beginnings.values()) * 40, strict=True):
            connection.sendall(beginning)

        def trickle() -> None:
            while not stop.wait(0.2):
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.send(b"a")

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert service.curl("-d", BODY, timeout_s=5).status == 200
            assert service.get("/livez", timeout_s=5).status == 200
            ended = [everything(connection) for connection in slow]
        finally:
            stop.set()
            sender.join()
    assert not any(answer.startswith(b"HTTP/1.1 2") for answer in ended)


def test_who_waits_for_a_reply_or_pauses_between_requests_is_no_slow_sender(service: ServiceProcess) -> None:
    slowly = json.dumps({"prompt": "Answer slowly"}).encode()
    with connect(service) as waiting, connect(service) as pausing:
        waiting.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(slowly) + slowly)
        assert alive(pausing)
        assert reply_status(waiting) == 200
        assert alive(pausing)


def ended(connection: socket.socket) -> bool:
    """Whether the service has closed a connection, now that everything it had to say is read."""
    connection.settimeout(0.5)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("said", [b"POST /chat", LIVEZ], ids=["slow", "idle"])
def test_newcomers_take_the_place_of_the_longest_silent_when_connections_run_out(
    short_export: Path, said: bytes
) -> None:
    with ServiceProcess("--model", short_export, planted=SMALL_CROWD) as process, contextlib.ExitStack() as stack:
        process.wait_ready()

        def crowd(size: int) -> list[socket.socket]:
            connections = [stack.enter_context(connect(process)) for _ in range(size)]
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(said)
            return connections

        slow = crowd(100)
        kept = stack.enter_context(connect(process))
        assert alive(kept)
        slow += crowd(20)
        assert process.curl("-d", BODY, timeout_s=5).status == 200
        assert ended(slow[0])
        assert not ended(slow[-1])
        assert alive(kept)
