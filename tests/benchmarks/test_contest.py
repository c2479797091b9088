from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks import contest, process
from benchmarks.client import Client
from benchmarks.contest import Contest, closed_loop
from benchmarks.errors import ServerError
from benchmarks.schema import Exchange, LoadResult, Sizes
from benchmarks.servers import LineUp, Server
from benchmarks.session import Session
from tests.benchmarks.fake_server import TOKENS, FakeServer, running

PROMPTS = ["how are you", "what is new", "where is Ann"]
SIZES = Sizes(beams=1, source_tokens=3, new_tokens=TOKENS, threads=1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "IDLE_S", 0.1)
    monkeypatch.setattr(contest, "PAUSE_AFTER_ERROR_S", 0.05)
    monkeypatch.setattr(contest, "IDLE_TIMEOUT_S", 1.0)


def server(mode: str, *, rival: bool = False) -> Server:
    return Server(mode, mode, (sys.executable, "-m", "tests.benchmarks.fake_server", mode), rival=rival)


def contested(*servers: Server, session: Session | None = None, **plan: Any) -> tuple[Contest, list[LoadResult]]:
    """A contest under one and three clients, in two rounds of four requests, unless `plan` says otherwise."""
    usual: dict[str, Any] = {"clients": (1, 3), "rounds": 2, "requests": 4}
    measured = Contest(LineUp(servers, SIZES, PROMPTS, TOKENS), session or Session(), **usual | plan)
    return measured, measured.run()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_servers_take_turns_and_every_request_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    measured, results = contested(server("honest"), replace(server("honest"), label="other"))
    shown = lines(capsys)
    assert [line.rsplit(": ", 1)[0] for line in shown[2:]] == [
        "round 1 of 2: 1 client: honest",
        "round 1 of 2: 1 client: other",
        "round 1 of 2: 3 clients: honest",
        "round 1 of 2: 3 clients: other",
        "round 2 of 2: 1 client: other",
        "round 2 of 2: 1 client: honest",
        "round 2 of 2: 3 clients: other",
        "round 2 of 2: 3 clients: honest",
    ]
    assert shown[2].startswith("round 1 of 2: 1 client: honest: 4 replies in 0.")
    assert [result.clients for result in results] == [1, 3]
    for runs in (runs for result in results for runs in result.servers):
        assert [run.round for run in runs.runs] == [0, 1]
        for run in runs.runs:
            assert len(run.replies) == len(run.requests) == 4
            assert run.replies_per_s == 4 / run.seconds
            assert run.errors == {}
            assert run.ended == ""
    assert [participant.label for participant in measured.participants()] == ["honest", "other"]
    assert all((participant.peak_bytes or 0) > 1_000_000 for participant in measured.participants())


def test_errors_are_counted_and_not_dropped() -> None:
    _, (waiting,) = contested(server("short"), rounds=1, clients=(2,))
    (run,) = waiting.servers[0].runs
    assert run.replies == []
    assert run.errors == {"wrong length": 4}
    assert run.replies_per_s == 0


def test_rival_that_does_not_start_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    plan: dict[str, Any] = {"rounds": 1, "clients": (1,)}
    session = Session()
    measured, _ = contested(server("stillborn", rival=True), server("honest"), session=session, **plan)
    reason = "The stillborn server did not become ready: it ended with exit code 7; its last line: no wool left"
    assert session.missing == {"stillborn": reason}
    assert [participant.label for participant in measured.participants()] == ["honest"]
    assert lines(capsys)[1] == f"stillborn is missing: {reason}."
    with pytest.raises(ServerError, match="no wool left"):
        contested(server("stillborn"), server("honest"), **plan)
    with pytest.raises(ServerError, match="None of the servers started"):
        contested(server("stillborn", rival=True), **plan)


def test_server_that_ends_is_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    _, (result,) = contested(server("mortal"), clients=(1,), requests=2)
    first, second = result.servers[0].runs
    assert first.errors == second.errors == {"connection": 2}
    assert first.ended == second.ended == "ended with exit code 7; its last line: out of luck"
    assert lines(capsys)[2] == "mortal ended with exit code 7; its last line: out of luck; starting it again"


def test_server_that_goes_on_working_is_started_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contest, "IDLE_TIMEOUT_S", 0.2)
    _, (result,) = contested(server("restless"), clients=(1,), rounds=1)
    assert result.servers[0].runs[0].errors == {}
    assert lines(capsys)[2] == "restless goes on working on what was given up; starting it again"


def test_loads_with_a_noisy_pair_are_run_again_and_the_quietest_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noises = iter([0.3, 0.02, 0.2])
    monkeypatch.setattr(contest, "pair_noise", lambda *_: next(noises))
    _, results = contested(server("honest"), replace(server("honest"), label="honest (again)"))
    assert [result.noise for result in results] == [[0.2, 0.3], [0.02]]
    shown = lines(capsys)
    assert "1 client: too noisy: the A/A pair differs by 30%; running the rounds again" in shown
    assert "1 client: too noisy: the A/A pair differs by 20%; the quietest rounds are kept" in shown
    assert sum(": 1 client: honest: " in line for line in shown) == 4
    assert sum(": 3 clients: honest: " in line for line in shown) == 2


def loop(fake: FakeServer, clients: int, *, seconds: float = math.inf, requests: float = math.inf) -> list[Exchange]:
    client = Client("127.0.0.1", fake.server_port, 3, TOKENS, 5.0)
    return closed_loop(lambda number, began: client.ask(PROMPTS[number % 3], began), clients, seconds, requests)


def test_closed_loop_keeps_every_client_busy_with_one_request() -> None:
    with running("honest") as fake:
        exchanges = loop(fake, 3, requests=10)
    assert [exchange.error for exchange in exchanges] == [""] * 10
    assert sorted(fake.prompts) == sorted(PROMPTS[number % 3] for number in range(10))
    assert fake.at_once == 3
    starts = [exchange.start_s for exchange in exchanges]
    assert starts == sorted(starts)


def test_one_client_sends_the_next_request_when_the_reply_has_come() -> None:
    with running("honest") as fake:
        exchanges = loop(fake, 1, requests=4)
    assert fake.at_once == 1
    assert fake.prompts == [*PROMPTS, PROMPTS[0]]
    for before, after in pairwise(exchanges):
        assert after.start_s >= before.start_s + before.seconds


def test_no_request_is_sent_after_the_last_second_and_all_are_waited_for() -> None:
    with running("honest", pause_s=0.1) as fake:
        exchanges = loop(fake, 2, seconds=0.25)
    assert len(exchanges) == len(fake.prompts) >= 2
    assert all(exchange.start_s < 0.25 for exchange in exchanges)
    assert max(exchange.start_s + exchange.seconds for exchange in exchanges) > 0.25


def test_client_pauses_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "PAUSE_AFTER_ERROR_S", 0.1)
    with running("busy", pause_s=0.0) as fake:
        exchanges = loop(fake, 1, requests=3)
    assert [exchange.error for exchange in exchanges] == ["HTTP 503"] * 3
    for before, after in pairwise(exchanges):
        assert after.start_s >= before.start_s + before.seconds + 0.1


def test_failure_of_a_client_is_raised() -> None:
    def ask(number: int, began: float) -> Exchange:
        raise ValueError(f"request {number}")

    with pytest.raises(ValueError, match="request 0"):
        closed_loop(ask, 1, math.inf, 1)


def test_interrupt_does_not_wait_for_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def ask(number: int, began: float) -> Exchange:
        gate.wait(30)
        return Exchange(start_s=0.0, seconds=0.0)

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            closed_loop(ask, 2, math.inf, 2)
    assert time.monotonic() - began < 5
    gate.set()
