"""One thread answers many, in the order they came."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from service.engine.engine import Engine, Generation
from service.errors import DeadlineExceeded, NotReady, Overloaded
from tests.service.fakes import REPLY, FailingModel, FixedModel, GatedModel

PATIENCE_S = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def model() -> Iterator[GatedModel]:
    model = GatedModel()
    yield model
    model.gate.set()


@pytest.fixture
def engine(model: GatedModel) -> Engine:
    return Engine(model, queue_size=3)


def ask(pool: ThreadPoolExecutor, engine: Engine, number: int, timeout_s: float = PATIENCE_S) -> Future[Generation]:
    """Ask from a thread of its own and give it the time to reach the queue."""
    future = pool.submit(engine.generate, [number, 2], timeout_s=timeout_s)
    time.sleep(0.05)
    return future


def test_a_reply_comes_with_its_ids_and_times() -> None:
    generation = Engine(FixedModel(), queue_size=1).generate([5, 2], timeout_s=PATIENCE_S)
    assert generation.ids == REPLY
    assert 0 <= generation.queue_s < PATIENCE_S
    assert 0 <= generation.decode_s < PATIENCE_S


def test_first_come_is_first_served(pool: ThreadPoolExecutor, engine: Engine, model: GatedModel) -> None:
    replies = [ask(pool, engine, number) for number in range(4)]
    model.gate.set()
    for reply in replies:
        reply.result(PATIENCE_S)
    assert model.sources == [[0, 2], [1, 2], [2, 2], [3, 2]]


def test_one_reply_is_made_at_a_time(pool: ThreadPoolExecutor, engine: Engine, model: GatedModel) -> None:
    replies = [ask(pool, engine, number) for number in range(3)]
    model.wait_begun()
    assert not model.begun.acquire(timeout=0.1)
    model.gate.set()
    waited = [reply.result(PATIENCE_S).queue_s for reply in replies]
    assert min(waited[1:]) > max(0.1, waited[0])


def test_a_full_queue_refuses_at_the_door_and_says_when_to_come_back(
    pool: ThreadPoolExecutor, engine: Engine, model: GatedModel
) -> None:
    replies = [ask(pool, engine, number) for number in range(4)]
    model.wait_begun()
    started = time.monotonic()
    with pytest.raises(Overloaded, match=r"try again in \d+ seconds") as refusal:
        engine.generate([9, 2], timeout_s=PATIENCE_S)
    assert time.monotonic() - started < 1
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 1
    model.gate.set()
    assert [reply.result(PATIENCE_S).ids for reply in replies] == [REPLY] * 4
    assert engine.generate([9, 2], timeout_s=PATIENCE_S).ids == REPLY


def test_a_waiting_request_past_its_deadline_is_dropped_without_any_work(
    pool: ThreadPoolExecutor, engine: Engine, model: GatedModel
) -> None:
    running = ask(pool, engine, 0)
    model.wait_begun()
    with pytest.raises(DeadlineExceeded):
        engine.generate([1, 2], timeout_s=0.05)
    model.gate.set()
    running.result(PATIENCE_S)
    engine.generate([2, 2], timeout_s=PATIENCE_S)
    assert model.sources == [[0, 2], [2, 2]]


def test_requests_that_gave_up_leave_their_place_in_the_queue(
    pool: ThreadPoolExecutor, engine: Engine, model: GatedModel
) -> None:
    running = ask(pool, engine, 0)
    model.wait_begun()
    for number in range(1, 6):
        with pytest.raises(DeadlineExceeded):
            engine.generate([number, 2], timeout_s=0.01)
    waiting = [ask(pool, engine, number) for number in range(6, 9)]
    with pytest.raises(Overloaded):
        engine.generate([9, 2], timeout_s=0.01)
    model.gate.set()
    for reply in (running, *waiting):
        assert reply.result(PATIENCE_S).ids == REPLY
    assert model.sources == [[0, 2], [6, 2], [7, 2], [8, 2]]


def test_a_running_request_is_told_how_long_it_may_work_and_ends_at_its_deadline(
    pool: ThreadPoolExecutor, engine: Engine, model: GatedModel
) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        engine.generate([0, 2], timeout_s=0.2)
    assert 0.2 <= time.monotonic() - started < 1
    model.gate.set()
    assert engine.generate([1, 2], timeout_s=PATIENCE_S).ids == REPLY


def test_a_failure_reaches_its_own_request_alone(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(FailingModel(poison=13), queue_size=20)
    with caplog.at_level(logging.CRITICAL, logger="service"):
        replies = {number: ask(pool, engine, number) for number in range(10, 17)}
        for number, reply in replies.items():
            if number == 13:
                with pytest.raises(RuntimeError, match="the secret reason"):
                    reply.result(PATIENCE_S)
            else:
                assert reply.result(PATIENCE_S).ids == REPLY


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(
    pool: ThreadPoolExecutor, engine: Engine, model: GatedModel
) -> None:
    accepted = [ask(pool, engine, number) for number in range(3)]
    model.wait_begun()
    closing = threading.Thread(target=engine.close)
    closing.start()
    time.sleep(0.05)
    with pytest.raises(NotReady):
        engine.generate([9, 2], timeout_s=PATIENCE_S)
    model.gate.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [reply.result(PATIENCE_S).ids for reply in accepted] == [REPLY] * 3
