"""What comes through Ray's proxy, with a real model whose replies take a second."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy.replicas import Replicas
from tests.service import slow
from tests.service.conftest import LONG_REPLIES
from tests.service.process import ServiceProcess

BEAMS = LONG_REPLIES["num_beams"]
PATIENCE_S = 20.0
# More than a replica has threads.
BODIES = 150


@pytest.fixture(scope="module")
def single(long_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    store = tmp_path_factory.mktemp("store") / "conversations.sqlite3"
    flags = ("--replicas", "1", "--store", store, "--metrics-port", "0")
    with Replicas("--model", long_export, *flags, plant=slow.plant) as started:
        yield started


def wait_begun(replicas: Replicas, count: int = 1) -> None:
    """Wait until so many replies are under way or wait for their turn."""
    end = time.monotonic() + PATIENCE_S
    while replicas.metric("chatbot_batch_rows") / BEAMS + replicas.metric("chatbot_queue_size") < count:
        assert time.monotonic() < end, replicas.log
        time.sleep(0.01)


def test_it_says_what_the_service_says(single: Replicas, long_export: Path) -> None:
    body = ("-d", '{"prompt": "Hello, how are you today?"}')
    with ServiceProcess("--model", long_export) as service:
        expected = service.wait_ready().curl(*body).body
    assert single.curl(*body).body == expected
    streamed = single.curl(*body[:1], '{"prompt": "Hello, how are you today?", "stream": true}').body
    assert json.loads(streamed.rsplit("data: ", 1)[1])["reply"] == expected


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_work(single: Replicas, stream: bool) -> None:
    before = single.metric("chatbot_cancelled_total")
    for _ in range(4):
        opened = http.client.HTTPConnection("127.0.0.1", single.port, timeout=10)
        opened.request("POST", "/chatbot", json.dumps({"prompt": "Hello", "stream": stream}))
        if stream:
            assert opened.getresponse().readline().startswith(b": the reply follows")
        else:
            wait_begun(single)
        opened.close()
        single.wait_idle()
        single.wait_answered()
    assert single.metric("chatbot_cancelled_total") == before + 4


def test_clients_that_leave_in_the_middle_of_a_body_hold_nothing(single: Replicas) -> None:
    for _ in range(BODIES):
        with socket.create_connection(("127.0.0.1", single.port), timeout=10) as half:
            half.sendall(b'POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n{"prompt": "He')
    assert single.curl("-d", '{"prompt": "Hello"}').status == 200
    single.wait_answered(PATIENCE_S)


def test_sigterm_lets_running_replies_finish_and_ends_with_0(single: Replicas) -> None:
    answers: list[int] = []

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", single.port, timeout=30)) as opened:
            opened.request("POST", "/chatbot", json.dumps({"prompt": "Hello"}))
            answers.append(opened.getresponse().status)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_begun(single, len(threads))
    single.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 6
    assert single.wait(60) == 0
