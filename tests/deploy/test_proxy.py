"""What comes through Ray's proxy, with a real model whose replies take a second."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy.replicas import Replicas
from tests.service.process import ServiceProcess


@pytest.fixture(scope="module")
def single(long_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    store = tmp_path_factory.mktemp("store") / "conversations.sqlite3"
    with Replicas("--model", long_export, "--replicas", "1", "--store", store, "--metrics-port", "0") as started:
        yield started


def wait_begun(replicas: Replicas) -> None:
    """Wait until a reply is under way."""
    while not replicas.metric("chatbot_batch_rows"):
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
    assert single.wait_idle() < 2.0
    assert single.metric("chatbot_cancelled_total") == before + 4


def test_sigterm_lets_running_replies_finish_and_ends_with_0(single: Replicas) -> None:
    answers: list[int] = []

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", single.port, timeout=30)) as opened:
            opened.request("POST", "/chatbot", json.dumps({"prompt": "Hello"}))
            answers.append(opened.getresponse().status)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    single.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 6
    assert single.wait(60) == 0
