"""Two replicas on a real Ray share their conversations in a real Redis; `tests/accept/replicas.py` has the large
counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.chat.prompt import PromptFormat
from tests.deploy.replicas import HEAL_TIMEOUT_S, Replicas
from tests.redis_server import RedisServer
from tests.service import echo
from tests.service.process import ROOT, free_port
from tests.service.soak import converse, insist_while, speak_at_once

COUNT = 2
CLIENTS = 16
# Within this time a message that was lost with its replica must have its reply.
RETRY_S = 30.0


def first_to_end(pids: list[int]) -> int:
    """The process that ends first."""
    end = time.monotonic() + HEAL_TIMEOUT_S
    while not (gone := [pid for pid in pids if not psutil.pid_exists(pid)]):
        assert time.monotonic() < end, "all go on"
        time.sleep(0.05)
    return gone[0]


def metric(port: int, name: str) -> float:
    """Of one replica, summed over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(short_export: Path, redis: RedisServer) -> Iterator[Replicas]:
    """Two that echo what they read."""
    flags = ("--replicas", str(COUNT), "--store", redis.url(), "--metrics-port", str(free_port()))
    with Replicas("--model", short_export, *flags, plant=echo.plant) as started:
        yield started


def test_all_conversations_have_their_own_history_on_whichever_replica(
    replicas: Replicas, prompt_format: PromptFormat
) -> None:
    assert converse(replicas.port, prompt_format, conversations=64, clients=CLIENTS, exchanges=6) == []
    served = [metric(port, "chatbot_requests_total") for port in replicas.wait_metrics(COUNT)]
    assert min(served) > 50, served


def test_two_messages_at_once_are_answered_one_after_the_other(replicas: Replicas, prompt_format: PromptFormat) -> None:
    assert speak_at_once(replicas.port, prompt_format, conversations=12, pairs=4) == []


def test_a_replica_killed_under_load_loses_nobodys_words(replicas: Replicas, prompt_format: PromptFormat) -> None:
    replicas.wait_replicas(COUNT)
    killed = []
    outcome = insist_while(
        replicas.port,
        prompt_format,
        clients=CLIENTS,
        exchanges=5 * CLIENTS + 1,
        within_s=RETRY_S,
        disturb=lambda: killed.append(replicas.kill_one()),
    )
    assert outcome.mistakes == []
    assert outcome.acknowledged > 10 * CLIENTS
    assert outcome.interrupted > 0, "nothing was under way when the replica was killed"
    replicas.wait_replicas(COUNT, without=killed[0])


def test_a_replica_whose_engine_dies_is_replaced(replicas: Replicas) -> None:
    replicas.wait_replicas(COUNT)
    before = replicas.pids()
    assert replicas.curl("-d", json.dumps({"prompt": echo.DEADLY_MESSAGE})).status in {500, 503}
    dead = first_to_end(before)
    replicas.wait_replicas(COUNT, without=dead)
    assert len({*before} & {*replicas.pids()}) == COUNT - 1
    for _ in range(2 * COUNT):
        assert replicas.curl("-d", '{"prompt": "Hello"}').status == 200


def test_redis_gone_is_a_503_and_back_is_a_reply(replicas: Replicas, redis: RedisServer) -> None:
    body = ("-d", '{"prompt": "Hello"}', "-H", "Accept: application/json")
    session = replicas.curl(*body).headers["x-session-id"]
    redis.stop()
    try:
        for _ in range(2 * COUNT):
            refused = replicas.curl(*body, "-H", f"X-Session-Id: {session}")
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "store_unavailable" in refused.body
        assert replicas.get("/readyz").status == 200
    finally:
        redis.start()
    for _ in range(2 * COUNT):
        assert replicas.curl(*body, "-H", f"X-Session-Id: {session}").status == 200
    assert replicas.get(f"/sessions/{session}").body.count('"user"') == 1 + 2 * COUNT


def test_the_page_and_its_files_come_through(replicas: Replicas) -> None:
    assert "<title>" in replicas.get("/").body
    assert replicas.get("/static/chat.js").status == 200
    assert replicas.get("/openapi.json").status == 200


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--store", "redis://127.0.0.1:1/0"), 1, "redis://127.0.0.1:6379/0"),
        (("--model", "no/such/folder"), 1, "no/such/folder"),
        (("--replicas", "none"), 2, "--replicas is 'none'; it takes a whole number from 1 to 1000."),
    ],
)
def test_a_start_that_cannot_succeed_ends_with_one_sentence(arguments: tuple[str, ...], code: int, told: str) -> None:
    command = (sys.executable, "-m", "deploy", "--port", "0", *arguments)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_damaged_model_is_found_before_replicas_are_started(short_export: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(short_export, damaged)
    (damaged / "weights.bin").write_bytes(b"something else")
    command = (sys.executable, "-m", "deploy", "--port", "0", "--store", str(tmp_path / "store"), "--model", damaged)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    assert "weights.bin" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_check_says_what_would_be_served(short_export: Path, redis: RedisServer) -> None:
    flags = ("--model", str(short_export), "--replicas", "64", "--store", redis.url(), "--port", "0", "--check")
    command = (sys.executable, "-m", "deploy", *flags)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0
    assert "The threads that all replicas have together (64) are more than the" in ended.stderr
    assert "Keeps conversations in Redis" in ended.stdout
