"""The running process under more load than it can bear, with clients that leave, and with an engine that fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service import streams
from tests.service.conftest import LONG_REPLIES
from tests.service.process import ServiceProcess

BODY = json.dumps({"prompt": "Hello there"}).encode()
STREAM = json.dumps({"prompt": "Hello there", "stream": True}).encode()
# Steps take a while, and fail while the file exists.
PLANTED = """
import time
from pathlib import Path
from service.engine.batch import Batch
step = Batch.step
def planted(self):
    time.sleep(0.01)
    if Path({path!r}).exists():
        raise {error}("planted")
    return step(self)
Batch.step = planted
"""
SLOW = PLANTED.format(path="/nonexistent", error="RuntimeError")


@pytest.fixture
def narrow(long_export: Path) -> Iterator[ServiceProcess]:
    """A service with room for two replies and two that wait, one thread at work."""
    with ServiceProcess("--model", long_export, "--threads", "1", "--rows", "20", "--queue", "2") as process:
        yield process.wait_ready()


def send(service: ServiceProcess, body: bytes = BODY) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", "/chatbot", body)
    return connection


def finish(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    """Status and Retry-After of an answer."""
    with contextlib.closing(connection), connection.getresponse() as response:
        response.read()
        return response.status, response.headers["Retry-After"]


def test_of_200_at_once_each_is_answered_or_refused_and_the_health_checks_answer_meanwhile(
    narrow: ServiceProcess,
) -> None:
    connections = [send(narrow) for _ in range(200)]
    for path in ("/livez", "/readyz", "/metrics"):
        started = time.monotonic()
        assert narrow.get(path).status == 200
        assert time.monotonic() - started < 3
    answers = [finish(connection) for connection in connections]
    counts = Counter(status for status, _ in answers)
    assert set(counts) == {200, 503}
    assert 4 <= counts[200] < 100
    assert all(wait is not None and 1 <= int(wait) < 600 for status, wait in answers if status == 503)
    assert narrow.curl("-d", BODY).status == 200
    assert narrow.metric("chatbot_rejected_total") == counts[503]


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["plain", "stream"])
def test_clients_that_leave_stop_costing(narrow: ServiceProcess, body: bytes) -> None:
    draw = random.Random(4)
    for _ in range(8):
        connections = [send(narrow, body) for _ in range(4)]
        time.sleep(draw.uniform(0.0, 0.3))
        for connection in connections:
            connection.close()
    narrow.wait_idle()
    assert narrow.metric("chatbot_cancelled_total") > 0
    assert narrow.curl("-d", BODY).status == 200


def test_a_message_past_its_deadline_is_a_504_and_its_work_stops(long_export: Path) -> None:
    crawling = SLOW.replace("sleep(0.01)", "sleep(0.05)")
    with ServiceProcess("--model", long_export, "--deadline", "0.2", planted=crawling) as process:
        answer = process.wait_ready().curl("-d", BODY)
        assert answer.status == 504
        assert answer.body == "There was no reply in time; try again."
        assert process.wait_idle() < LONG_REPLIES["min_length"] * 0.05 / 2


def test_a_stream_comes_over_the_wire_and_joins_to_the_plain_reply(narrow: ServiceProcess) -> None:
    plain = narrow.curl("-d", BODY).body
    answer = narrow.curl("-N", "-d", STREAM)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    stream = streams.read([answer.body.encode()])
    assert stream.text == plain
    assert stream.done is not None


def test_streams_finish_after_sigterm(long_export: Path) -> None:
    with ServiceProcess("--model", long_export, "--rows", "20", "--queue", "2", planted=SLOW) as process:
        process.wait_ready()
        connections = [send(process, STREAM) for _ in range(4)]
        time.sleep(0.3)
        process.signal(signal.SIGTERM)
        time.sleep(0.1)
        refused = process.curl("-d", STREAM)
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        for connection in connections:
            with contextlib.closing(connection), connection.getresponse() as response:
                assert streams.read([response.read()]).done is not None
        assert process.wait() == 0


def test_a_fault_in_a_step_fails_the_replies_in_it_and_the_next_one_works(long_export: Path, tmp_path: Path) -> None:
    trigger = tmp_path / "fault"
    planted = PLANTED.format(path=str(trigger), error="RuntimeError")
    with ServiceProcess("--model", long_export, "--threads", "1", planted=planted) as process:
        process.wait_ready()
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(process.curl, "-d", BODY) for _ in range(4)]
            time.sleep(0.3)
            trigger.touch()
            answers = [future.result() for future in running]
        assert {answer.status for answer in answers} == {500}
        assert all(answer.body.startswith("The reply could not be computed; try again.") for answer in answers)
        trigger.unlink()
        assert process.curl("-d", BODY).status == 200
        assert process.get("/readyz").status == 200


def test_a_dead_engine_fails_every_request_and_ends_the_process(long_export: Path, tmp_path: Path) -> None:
    trigger = tmp_path / "death"
    planted = PLANTED.format(path=str(trigger), error="SystemExit")
    with ServiceProcess("--model", long_export, "--threads", "1", "--rows", "10", planted=planted) as process:
        process.wait_ready()
        connections = [send(process) for _ in range(4)]
        time.sleep(0.3)
        trigger.touch()
        answers = [finish(connection) for connection in connections]
        assert {status for status, _ in answers} == {503}
        assert all(wait is not None for _, wait in answers)
        assert process.wait() == 1
        assert "The engine stopped (SystemExit: planted)." in process.log


def test_after_kill_9_the_restart_is_clean(long_export: Path) -> None:
    with ServiceProcess("--model", long_export) as process:
        port = process.wait_ready().port
        connections = [send(process) for _ in range(4)]
        process.signal(signal.SIGKILL)
        process.wait()
        for connection in connections:
            connection.close()
        with ServiceProcess("--model", long_export, "--port", str(port)) as again:
            assert again.wait_ready().curl("-d", BODY).status == 200


def test_a_client_that_reads_nothing_holds_up_nobody(narrow: ServiceProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", narrow.port)))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            head = b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(STREAM)
            deaf.sendall(head + STREAM)
        assert narrow.curl("-d", BODY).status == 200
        narrow.wait_idle(timeout_s=5)
