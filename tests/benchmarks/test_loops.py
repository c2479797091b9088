from __future__ import annotations

import threading
import time
from itertools import pairwise
from statistics import mean

import pytest

from benchmarks import loops
from benchmarks.client import Client, Exchange
from benchmarks.loops import ClosedLoop, Limit, OpenLoop, arrivals
from tests.benchmarks.fake_server import TOKENS, FakeServer, running

PROMPTS = ("how are you today", "what will you cook tonight", "where is my old red bicycle")


def asker(server: FakeServer, timeout_s: float = 5.0) -> loops.Ask:
    def ask(number: int, began: float, due: float) -> Exchange:
        prompt = PROMPTS[number % len(PROMPTS)]
        return Client("127.0.0.1", server.server_port, len(prompt.split()), TOKENS, timeout_s).ask(prompt, began, due)

    return ask


def test_closed_loop_keeps_every_client_busy_with_one_request() -> None:
    with running("honest") as server:
        exchanges = ClosedLoop(3).run(asker(server), Limit(requests=10), "")
    assert [exchange.error for exchange in exchanges] == [""] * 10
    assert sorted(server.prompts) == sorted(PROMPTS[number % 3] for number in range(10))
    assert server.at_once == 3
    starts = [exchange.start_s for exchange in exchanges]
    assert starts == sorted(starts)


def test_one_client_sends_the_next_request_when_the_reply_has_come() -> None:
    with running("honest") as server:
        exchanges = ClosedLoop(1).run(asker(server), Limit(requests=4), "")
    assert server.at_once == 1
    assert server.prompts == [*PROMPTS, PROMPTS[0]]
    for before, after in pairwise(exchanges):
        assert after.start_s >= before.start_s + before.seconds


def test_no_request_is_sent_after_the_last_second_and_all_are_waited_for() -> None:
    with running("honest", pause_s=0.1) as server:
        exchanges = ClosedLoop(2).run(asker(server), Limit(seconds=0.25), "")
    assert len(exchanges) == len(server.prompts) >= 2
    assert all(exchange.start_s < 0.25 for exchange in exchanges)
    assert max(exchange.start_s + exchange.seconds for exchange in exchanges) > 0.25


def test_client_pauses_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "PAUSE_AFTER_ERROR_S", 0.1)
    with running("busy", pause_s=0.0) as server:
        exchanges = ClosedLoop(1).run(asker(server), Limit(requests=3), "")
    assert [exchange.error for exchange in exchanges] == ["HTTP 503"] * 3
    for before, after in pairwise(exchanges):
        assert after.start_s >= before.start_s + before.seconds + 0.1


def test_open_loop_sends_when_requests_are_due() -> None:
    limit = Limit(requests=12)
    with running("honest", pause_s=0.1) as server:
        exchanges = OpenLoop(rate=100, most=64).run(asker(server), limit, "a seed")
    assert [exchange.error for exchange in exchanges] == [""] * 12
    assert [exchange.start_s for exchange in exchanges] == pytest.approx(list(arrivals(100, limit, "a seed")))
    assert server.at_once > 3


def test_request_on_top_of_the_most_is_counted_as_not_sent() -> None:
    with running("honest", pause_s=0.5) as server:
        exchanges = OpenLoop(rate=200, most=2).run(asker(server), Limit(requests=9), "")
    assert [exchange.error for exchange in exchanges] == ["", "", *["not sent"] * 7]
    assert exchanges[-1].detail == "2 were under way"
    assert len(server.prompts) == 2


def test_request_that_times_out_makes_room_again() -> None:
    with running("silent") as server:
        exchanges = OpenLoop(rate=5, most=1).run(asker(server, timeout_s=0.01), Limit(requests=3), "")
    assert [exchange.error for exchange in exchanges] == ["timeout"] * 3


def test_arrivals_are_a_poisson_process_that_the_seed_decides() -> None:
    limit = Limit(requests=4000)
    moments = list(arrivals(8.0, limit, "1"))
    assert moments == list(arrivals(8.0, limit, "1"))
    assert moments[:9] != list(arrivals(8.0, limit, "2"))[:9]
    gaps = [after - before for before, after in pairwise([0.0, *moments])]
    assert min(gaps) > 0
    assert mean(gaps) == pytest.approx(1 / 8, rel=0.05)
    # Gaps without memory: their standard deviation is their mean.
    assert mean(gap**2 for gap in gaps) == pytest.approx(2 / 8**2, rel=0.1)
    early = list(arrivals(8.0, Limit(seconds=10.0), "1"))
    assert early == [moment for moment in moments if moment < 10]


def test_failure_of_a_thread_is_raised() -> None:
    def ask(number: int, began: float, due: float) -> Exchange:
        raise ValueError(f"request {number}")

    with pytest.raises(ValueError, match="request 0"):
        ClosedLoop(1).run(ask, Limit(requests=1), "")
    with pytest.raises(ValueError, match="request 0"):
        OpenLoop(100.0, 1).run(ask, Limit(requests=1), "")


def test_interrupt_does_not_wait_for_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def ask(number: int, began: float, due: float) -> Exchange:
        gate.wait(30)
        return Exchange(due - began, 0.0)

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ClosedLoop(2).run(ask, Limit(requests=2), "")
    assert time.monotonic() - began < 5
    gate.set()


def test_loads_are_named() -> None:
    assert [str(loop) for loop in (ClosedLoop(1), ClosedLoop(4), OpenLoop(0.5, 8))] == [
        "1 client",
        "4 clients",
        "0.5 requests a second",
    ]
