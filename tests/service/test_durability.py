"""Every conversation has its own history, and none that was acknowledged is lost; `tests/accept/conversations.py` has
the large counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.chat.prompt import PromptFormat
from tests.redis_server import RedisServer
from tests.service import echo
from tests.service.process import ROOT, ServiceProcess
from tests.service.soak import converse, kill_repeatedly


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_many_at_once_have_their_own_histories(
    kind: str, short_export: Path, prompt_format: PromptFormat, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        store = {"memory": "memory", "sqlite": str(tmp_path / "conversations.sqlite3"), "redis": redis.url()}[kind]
        with ServiceProcess("--model", short_export, "--store", store, planted=echo.PLANTED) as service:
            port = service.wait_ready().port
            assert converse(port, prompt_format, conversations=60, clients=8, exchanges=8) == []


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_was_acknowledged_outlives_kill_9(
    kind: str, short_export: Path, prompt_format: PromptFormat, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        store = {"sqlite": str(tmp_path / "conversations.sqlite3"), "redis": redis.url()}[kind]
        outcome = kill_repeatedly(short_export, store, prompt_format, kills=2)
    assert outcome.mistakes == []
    assert outcome.acknowledged > 20


def test_redis_gone_is_a_503_and_back_is_a_reply(short_export: Path, tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path) as redis,
        ServiceProcess("--model", short_export, "--store", redis.url(), planted=echo.PLANTED) as service,
    ):
        service.wait_ready()
        body = ("-d", '{"prompt": "Hello"}')
        session = service.curl(*body).headers["X-Session-Id"]
        redis.stop()
        for arguments, path in ((body, "/chatbot"), ((), f"/sessions/{session}")):
            headers = ("-H", f"X-Session-Id: {session}", "-H", "Accept: application/json")
            refused = service.curl(*arguments, *headers, path=path)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert "store_unavailable" in refused.body
        assert service.get("/readyz").status == 200
        assert service.get("/metrics").status == 200
        redis.start()
        assert service.curl(*body, "-H", f"X-Session-Id: {session}").status == 200
        assert service.get(f"/sessions/{session}").body.count('"user"') == 2


def test_a_store_that_cannot_be_opened_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database at all, and long enough to hold the header of one")
    command = (sys.executable, "-m", "service", "--model", "demo", "--port", "0", "--store", notes)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "choose another with --store" in ended.stderr
