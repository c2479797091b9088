"""Clients that do not read what they asked for, or send what nobody reads, hold up nobody and are closed in time."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from service.conversations.conversation import Exchange
from service.conversations.sqlite import SQLiteStore
from service.serving.connections import REFUSAL_PAUSE_S
from tests.service.process import ONE_MINUTE, ServiceProcess

BODY = json.dumps({"prompt": "Hello there"}).encode()
IMPATIENT = "import service.serving.connections; service.serving.connections.READING_TIMEOUT_S = 2.0"
CLOSED_S = 20.0
LOG_LINES = 100
KEY = "key-of-the-operator"
CONVERSATION = "long-conversation"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


MESSAGES = [{"role": "user", "content": "Hello there"}]
ASKED = {
    "static file": get("/static/docs/swagger-ui-bundle.js"),
    "page": get("/"),
    "specification": get("/openapi.json"),
    "conversation": get(f"/sessions/{CONVERSATION}"),
    "message": post("/chatbot", {"prompt": "Hello there"}),
    "stream": post("/chatbot", {"prompt": "Hello there", "stream": True}),
    "completion": post("/v1/chat/completions", {"messages": MESSAGES, "stream": True, "n": 8, "temperature": 1}),
    "wrong path": get("/nothing/" + "a" * 2000),
}


@pytest.fixture(scope="module")
def service(short_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that lets clients be two seconds without reading."""
    path = tmp_path_factory.mktemp("store") / "conversations"
    store = SQLiteStore(path, capacity=100, ttl_s=3600)
    for version in range(120):
        store.append(CONVERSATION, Exchange("🙂" * 2000, "Well."), version=version)
    store.close()
    with ServiceProcess("--model", short_export, "--store", path, planted=IMPATIENT) as process:
        yield process.wait_ready()


def deaf(service: ServiceProcess) -> socket.socket:
    """A connection whose client has room for next to nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", service.port))
    return connection


def wait_closed(service: ServiceProcess, connections: Sequence[socket.socket], before: int) -> float:
    """Wait until the service has begun to answer each and has no more files open than before; returns the slowest
    health check meanwhile."""
    process = psutil.Process(service.pid)
    end = time.monotonic() + CLOSED_S
    slowest = 0.0
    unanswered = set(connections)
    while unanswered or process.num_fds() > before:
        assert time.monotonic() < end, f"{process.num_fds()} files are open, {before} were"
        unanswered -= set(select.select(unanswered, [], [], 0)[0])
        started = time.monotonic()
        assert service.get("/livez").status == 200
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.1)
    return slowest


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_who_asks_much_and_reads_nothing_is_closed_and_holds_up_nobody(service: ServiceProcess, asked: bytes) -> None:
    process = psutil.Process(service.pid)
    before, lines = process.num_fds(), service.log.count("\n")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(deaf(service)) for _ in range(130)]
        for connection in connections:
            connection.sendall(asked * max(1, 8000 // len(asked)))
        assert wait_closed(service, connections, before) < 1
        service.wait_idle(timeout_s=5)
        assert service.curl("-d", BODY).status == 200
    assert service.log.count("\n") - lines < LOG_LINES
    assert "Traceback" not in service.log


def test_who_reads_a_byte_now_and_then_is_closed_too(service: ServiceProcess) -> None:
    before = psutil.Process(service.pid).num_fds()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(deaf(service)) for _ in range(20)]

        def trickle() -> None:
            while not stop.wait(0.1):
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.recv(1)

        for connection in slow:
            connection.sendall(ASKED["static file"])
        reader = threading.Thread(target=trickle)
        reader.start()
        try:
            assert wait_closed(service, slow, before) < 1
        finally:
            stop.set()
            reader.join()


def test_who_reads_slowly_but_steadily_gets_all(service: ServiceProcess) -> None:
    with deaf(service) as connection:
        connection.sendall(ASKED["static file"].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head, received, started = b"", 0, time.monotonic()
        while more := connection.recv(16 * 1024):
            head = head or more
            received += len(more)
            if time.monotonic() - started < 6:
                time.sleep(0.2)
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r")[0])
    assert received > length


def test_requests_that_come_together_are_answered_in_their_order(service: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        paths = ["/livez", "/nothing", "/readyz", "/openapi.json", "/livez"]
        connection.sendall(b"".join(map(get, paths)) + get("/metrics").replace(b"Host", b"Connection: close\r\nHost"))
        received = b""
        while more := connection.recv(65536):
            received += more
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == [b"200", b"404", b"200", b"200", b"200", b"200"]


def test_a_client_that_leaves_stops_costing_though_it_has_sent_more(service: ServiceProcess) -> None:
    before = service.metric("chatbot_cancelled_total")
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(ASKED["message"] * 50)
    service.wait_idle(timeout_s=5)
    service.wait_answered(timeout_s=5)
    assert service.metric("chatbot_requests_in_progress") == 1
    assert service.metric("chatbot_cancelled_total") - before <= 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/livez", "", 405),
        ("/nothing", "", 401),
        ("/sessions/abcdef", f"Authorization: Bearer {KEY}", 405),
        ("/chatbot", "", 401),
        ("//chatbot", "", 401),
        ("/chatbot", "Authorization: Bearer of-somebody-else-entirely", 401),
        ("/chatbot", f"Authorization: Bearer {KEY}", 413),
        ("/v1/chat/completions", f"Authorization: Bearer {KEY}", 413),
    ],
)
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue"], ids=["", "expecting"])
def test_a_body_that_nobody_will_read_is_not_waited_for(
    keyed: ServiceProcess, path: str, headers: str, status: int, expect: str
) -> None:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 4000000", headers, expect]
    with socket.create_connection(("127.0.0.1", keyed.port), timeout=5) as connection:
        connection.sendall("\r\n".join(filter(None, lines)).encode() + b"\r\n\r\n")
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in answer
        # What is sent after that does not take the answer away, nor is it kept.
        before = psutil.Process(keyed.pid).memory_info().rss
        connection.sendall(b"a" * 2_000_000)
        assert psutil.Process(keyed.pid).memory_info().rss - before < 1_000_000


def test_a_body_in_chunks_is_read_up_to_its_limit(keyed: ServiceProcess) -> None:
    head = f"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer {KEY}\r\n"
    for chunk in (b"2000\r\n" + b"a" * 0x2000 + b"\r\n", b"1;" + b"a" * 4000, b"1\r\na\r\n" * 1000):
        with socket.create_connection(("127.0.0.1", keyed.port), timeout=5) as connection:
            connection.sendall(head.encode() + b"\r\n")
            for _ in range(20_000):
                connection.sendall(chunk)
                if select.select([connection], [], [], 0)[0]:
                    break
            received = connection.recv(65536)
        assert received.split(b" ")[1] in {b"413", b"400"}


def test_unfinished_bodies_for_any_path_leave_no_files(keyed: ServiceProcess) -> None:
    process = psutil.Process(keyed.pid)
    with contextlib.ExitStack() as stack:
        files = process.num_fds()
        for number in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", keyed.port), timeout=5))
            path = ("/livez", "/chatbot", "/static/chat.js", "/nothing")[number % 4]
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n".encode())
            connection.sendall(b"a" * 1_000_000)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert process.num_fds() - files <= 41
            time.sleep(0.05)


@pytest.fixture(scope="module")
def keyed(short_export: Path) -> Iterator[ServiceProcess]:
    """A service that asks for a key."""
    with ServiceProcess("--model", short_export, "--api-keys", KEY) as process:
        yield process.wait_ready()


def test_it_takes_as_many_connections_as_it_may_have_files(short_export: Path) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))"
    with (
        ServiceProcess("--model", short_export, "--rows", "10", "--queue", "2", planted=few) as process,
        contextlib.ExitStack() as stack,
    ):
        process.wait_ready()
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=5))
        assert process.get("/livez", timeout_s=2).status == 200
        assert process.curl("-d", BODY, timeout_s=10).status == 200
        assert "may open only" in process.log
        assert "Traceback" not in process.log


def test_it_raises_its_limit_of_files(short_export: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))"
    with ServiceProcess("--model", short_export, planted=few) as process:
        soft, _ = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
        assert soft > 1000


def test_a_connection_that_cannot_be_taken_neither_spins_nor_fills_the_log(short_export: Path) -> None:
    unforeseen = """
import resource, service.serving.listener
service.serving.listener.max_connections = lambda threads: 1000
"""
    with ServiceProcess("--model", short_export, planted=unforeseen) as process, contextlib.ExitStack() as stack:
        process.wait_ready()
        watched = psutil.Process(process.pid)
        watched.rlimit(psutil.RLIMIT_NOFILE, (watched.num_fds() + 20,) * 2)
        lines, cpu = process.log.count("\n"), sum(watched.cpu_times()[:2])
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=5))
        time.sleep(3)
        assert sum(watched.cpu_times()[:2]) - cpu < 1.5
        assert 0 < process.log.count("\n") - lines < 5
        assert process.get("/livez", timeout_s=5).status == 200


def test_refusals_of_a_client_that_asks_too_often_wait_a_little_and_hold_up_nobody(short_export: Path) -> None:
    with (
        ServiceProcess("--model", short_export, "--client-limit", "1", planted=ONE_MINUTE) as process,
        contextlib.ExitStack() as stack,
    ):
        process.wait_ready()
        assert process.curl("-d", BODY).status == 200
        started = time.monotonic()
        refused = [stack.enter_context(socket.create_connection(("127.0.0.1", process.port), 10)) for _ in range(300)]
        for connection in refused:
            connection.sendall(ASKED["message"] * 3)
        assert process.curl("--interface", "127.0.0.2", "-d", BODY, timeout_s=5).status == 200
        for connection in refused:
            assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")
        assert time.monotonic() - started >= REFUSAL_PAUSE_S
        again = stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=10))
        started = time.monotonic()
        again.sendall(ASKED["message"] * 3)
        received = b""
        while received.count(b"HTTP/1.1 429 ") < 3:
            received += again.recv(65536)
        assert time.monotonic() - started >= 3 * REFUSAL_PAUSE_S


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n" * 4096,
        b"\n" * 8192,
        b"\r\n\r\n" * 2048,
        b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 8000,
    ],
    ids=["blank lines", "line feeds", "doubled blank lines", "small chunks"],
)
def test_bytes_that_say_next_to_nothing_are_next_to_no_work(service: ServiceProcess, sent: bytes) -> None:
    process = psutil.Process(service.pid)
    before = sum(process.cpu_times()[:2])
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
            with contextlib.suppress(OSError):
                connection.sendall(sent)
        assert service.get("/livez").status == 200
        assert service.curl("-d", BODY, timeout_s=10).status == 200
    assert sum(process.cpu_times()[:2]) - before < 1


def test_blank_lines_before_a_request_are_passed_over(service: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        for part in (b"\r", b"\n\r\n", get("/livez"), b"\r\n" * 500, get("/readyz")):
            connection.sendall(part)
            time.sleep(0.05)
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 2:
            received += connection.recv(65536)


def test_a_body_in_usual_chunks_is_read(service: ServiceProcess) -> None:
    head = b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = json.dumps({"prompt": "Hello", "session_id": None}).encode() + b" " * 50_000
    for size in (7, 64, 4096, 60_000):
        chunks = body[:1000] if size < 64 else body
        parts = [chunks[start : start + size] for start in range(0, len(chunks), size)]
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
