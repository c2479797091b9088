"""One thread writes the replies of many requests together, in the order they came."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.engine.engine import Engine
from service.engine.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineClosed,
    EngineFault,
    EngineStopped,
    Overloaded,
    UnsupportedSetting,
)
from service.engine.generation import TokenStream
from service.engine.sequence import Sequence
from tests.service.fakes import REPLY, FakeBatch, FakeModel

PATIENCE_S = 10.0


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def engine(model: FakeModel) -> Iterator[Engine]:
    """Room for two requests, and for three that wait."""
    engine = Engine(model, queue_size=3, max_rows=2)
    yield engine
    model.gate.set()
    engine.close()


def ask(engine: Engine, number: int, timeout_s: float = PATIENCE_S) -> TokenStream:
    return engine.submit([number, 2], timeout_s=timeout_s)


def reply_of(generation: TokenStream) -> list[int]:
    ids = generation.wait(PATIENCE_S).ids
    assert generation.done, "no reply came"
    return ids


def until(condition: object, timeout_s: float = PATIENCE_S) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


def test_a_reply_comes_with_its_ids_and_times(engine: Engine) -> None:
    generation = ask(engine, 5)
    assert reply_of(generation) == REPLY
    timing = generation.timing
    assert 0 <= timing.queue_s < PATIENCE_S
    assert 0 <= timing.encode_s < PATIENCE_S
    assert 0 < timing.decode_s < PATIENCE_S


def test_requests_share_steps(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    generations = [ask(engine, number) for number in (5, 6)]
    until(lambda: engine.running == 2)
    model.gate.set()
    assert [reply_of(generation) for generation in generations] == [REPLY, REPLY]
    assert 2 in model.steps


def test_a_newcomer_joins_before_the_running_reply_ends() -> None:
    model = FakeModel(reply=[1, *range(10, 60), 2])
    engine = Engine(model, queue_size=3, max_rows=4)
    first = ask(engine, 5)
    until(lambda: len(model.steps) > 2)
    second = ask(engine, 6)
    reply_of(second)
    assert first.timing.decode_s > 0
    assert max(model.steps) == 2
    assert model.steps[-1] == 1
    engine.close()


def test_one_newcomer_is_encoded_before_each_step() -> None:
    """Of many that come together none waits for another's reply, and the running ones wait for one encoder run."""
    model = FakeModel(beams=4, reply=[1, *range(10, 40), 2])
    model.gate.clear()
    engine = Engine(model, queue_size=8, max_rows=32)
    generations = [ask(engine, number) for number in range(5, 13)]
    until(lambda: engine.running == 8)
    model.gate.set()
    assert all(reply_of(generation)[0] == 1 for generation in generations)
    engine.close()

    model = FakeModel(beams=4, reply=[1, *range(10, 40), 2])
    engine = Engine(model, queue_size=8, max_rows=32)
    generations = [ask(engine, number) for number in range(5, 13)]
    for generation in generations:
        reply_of(generation)
    assert model.steps.index(8) <= 10
    engine.close()


def test_first_come_is_first_served(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    generations = [ask(engine, number) for number in (5, 6, 7, 8, 9)]
    model.gate.set()
    for generation in generations:
        reply_of(generation)
    assert model.sources == [[number, 2] for number in (5, 6, 7, 8, 9)]


def test_a_wide_request_is_not_overtaken_by_narrow_ones() -> None:
    model = FakeModel(beams=1)
    model.gate.clear()
    engine = Engine(model, queue_size=8, max_rows=4)
    ask(engine, 5)
    until(lambda: engine.running == 1)
    wide = engine.submit([6, 2], timeout_s=PATIENCE_S, settings=FakeModel(beams=4).settings)
    narrow = ask(engine, 7)
    time.sleep(0.05)
    assert engine.running == 1
    model.gate.set()
    reply_of(wide)
    reply_of(narrow)
    assert model.sources == [[5, 2], [6, 2], [7, 2]]
    engine.close()


def test_a_request_wider_than_the_limit_runs_alone() -> None:
    model = FakeModel(beams=10)
    engine = Engine(model, queue_size=2, max_rows=4)
    generations = [ask(engine, number) for number in (5, 6)]
    assert [reply_of(generation) for generation in generations] == [REPLY, REPLY]
    assert set(model.steps) == {1}
    engine.close()


def test_a_full_queue_refuses_at_the_door_and_says_when_to_come_back(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    generations = [ask(engine, number) for number in range(5, 10)]
    with pytest.raises(Overloaded, match=r"try again in \d+ seconds") as refusal:
        ask(engine, 10)
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 1
    model.gate.set()
    assert [reply_of(generation) for generation in generations] == [REPLY] * 5
    assert reply_of(ask(engine, 11)) == REPLY


def test_the_time_to_come_back_is_what_replies_have_taken(model: FakeModel, engine: Engine) -> None:
    model.encode_s = 0.01
    for _ in range(40):
        reply_of(ask(engine, 5))
    model.gate.clear()
    for number in range(5):
        ask(engine, number)
    assert engine.retry_after_s == 1


def test_a_waiting_request_past_its_deadline_is_dropped_without_any_work(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    running = [ask(engine, number) for number in (5, 6)]
    late = ask(engine, 7, timeout_s=0.05)
    with pytest.raises(DeadlineExceeded):
        late.wait(PATIENCE_S)
    until(lambda: engine.waiting == 0)
    model.gate.set()
    for generation in running:
        reply_of(generation)
    assert [7, 2] not in model.sources


def test_a_running_request_ends_at_its_deadline_and_the_others_go_on(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    late, other = ask(engine, 5, timeout_s=0.1), ask(engine, 6)
    until(lambda: engine.running == 2)
    with pytest.raises(DeadlineExceeded):
        late.wait(PATIENCE_S)
    until(lambda: engine.running == 1)
    model.gate.set()
    assert reply_of(other) == REPLY


@pytest.mark.parametrize("place", ["running", "waiting"])
def test_a_cancelled_request_costs_nothing_more(model: FakeModel, engine: Engine, place: str) -> None:
    model.gate.clear()
    generations = [ask(engine, number) for number in (5, 6, 7)]
    until(lambda: engine.running == 2)
    left = generations[0 if place == "running" else 2]
    left.cancel()
    with pytest.raises(Cancelled):
        left.wait(PATIENCE_S)
    until(lambda: (engine.running, engine.waiting) == (2, 0))
    model.gate.set()
    for generation in generations:
        if generation is not left:
            assert reply_of(generation) == REPLY


def test_a_fault_in_a_step_fails_the_replies_in_it_and_no_others(
    model: FakeModel, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    model.gate.clear()
    model.poison = 13
    with caplog.at_level(logging.CRITICAL, logger="service"):
        before = ask(engine, 5)
        until(lambda: engine.running == 1)
        poisoned = ask(engine, 13)
        waiting = ask(engine, 6)
        for generation in (before, poisoned):
            with pytest.raises(EngineFault, match="could not be computed"):
                generation.wait(PATIENCE_S)
        model.gate.set()
        assert reply_of(waiting) == REPLY
        assert reply_of(ask(engine, 7)) == REPLY
    assert engine.alive


def test_a_request_that_cannot_be_encoded_fails_alone(
    model: FakeModel, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    model.gate.clear()
    model.unreadable = 13
    with caplog.at_level(logging.CRITICAL, logger="service"):
        running = ask(engine, 5)
        with pytest.raises(EngineFault):
            ask(engine, 13).wait(PATIENCE_S)
        model.gate.set()
        assert reply_of(running) == REPLY


def test_a_fault_while_a_request_is_dropped_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(FakeBatch):
        def remove(self, sequence: Sequence) -> None:
            raise MemoryError

    model = FakeModel()
    model.gate.clear()
    model.batch = lambda: Stubborn(model)  # type: ignore[method-assign]
    engine = Engine(model, queue_size=3, max_rows=2)
    with caplog.at_level(logging.CRITICAL, logger="service"):
        left, other = ask(engine, 5), ask(engine, 6)
        until(lambda: engine.running == 2)
        left.cancel()
        with pytest.raises(Cancelled):
            left.wait(PATIENCE_S)
        with pytest.raises(EngineFault):
            other.wait(PATIENCE_S)
    model.gate.set()
    assert reply_of(ask(engine, 7)) == REPLY
    engine.close()


def test_a_reply_longer_than_the_batch_has_room_for_is_refused(model: FakeModel, engine: Engine) -> None:
    with pytest.raises(UnsupportedSetting, match="max_length"):
        engine.submit([5, 2], timeout_s=1, settings=replace(model.settings, max_length=13))


def test_when_the_thread_dies_every_request_fails_and_someone_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    model = FakeModel()
    model.gate.clear()
    engine = Engine(model, queue_size=3, max_rows=1, on_death=told.append)
    with caplog.at_level(logging.CRITICAL + 1, logger="service"):
        generations = [ask(engine, number) for number in (5, 6, 7)]
        model.death = SystemExit("struck down")
        for generation in generations:
            with pytest.raises(EngineStopped):
                generation.wait(PATIENCE_S)
        until(lambda: bool(told))
    assert not engine.alive
    assert told == ["The engine stopped (SystemExit: struck down)."]
    with pytest.raises(EngineStopped):
        ask(engine, 8)


def test_tokens_are_shown_as_they_are_settled(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    generation = ask(engine, 5)
    seen = [list(generation.wait(PATIENCE_S, known=0).ids)]
    assert seen == [REPLY[:1]]
    model.gate.set()
    while not generation.done:
        seen.append(list(generation.wait(PATIENCE_S, known=len(seen[-1])).ids))
    assert seen[-1] == REPLY
    assert all(REPLY[: len(part)] == part for part in seen)
    assert len(seen) > 1


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    accepted = [ask(engine, number) for number in (5, 6, 7)]
    closing = threading.Thread(target=engine.close)
    closing.start()
    until(lambda: engine._closed)
    with pytest.raises(EngineClosed):
        ask(engine, 9)
    model.gate.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [reply_of(generation) for generation in accepted] == [REPLY] * 3
