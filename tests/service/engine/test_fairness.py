"""One client with many requests does not keep others waiting, and nothing is lost to it while it is alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from service.engine.engine import Engine
from service.engine.errors import Overloaded
from service.engine.generation import TokenStream
from service.engine.sequence import Sequence
from tests.service.engine.test_engine import PATIENCE_S, reply_of, until
from tests.service.fakes import FakeBatch, FakeModel

LONG = [1, *range(10, 50), 2]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(reply=LONG)


@pytest.fixture
def engine(model: FakeModel) -> Iterator[Engine]:
    """Room for eight requests, and for eight that wait."""
    engine = Engine(model, queue_size=8, max_rows=8)
    yield engine
    model.gate.set()
    engine.close()


def ask(engine: Engine, number: int, client: str) -> TokenStream:
    return engine.submit([number, 2], timeout_s=PATIENCE_S, client=client)


def made_room(stream: TokenStream) -> bool:
    """Whether a request was refused after it had waited."""
    try:
        reply_of(stream)
    except Overloaded:
        return True
    return False


def timed(engine: Engine, number: int, client: str) -> float:
    started = time.monotonic()
    reply_of(ask(engine, number, client))
    return time.monotonic() - started


def test_another_client_is_answered_in_three_times_its_time_alone(model: FakeModel, engine: Engine) -> None:
    alone = min(timed(engine, number, "other") for number in range(3, 6))
    greedy = [ask(engine, number, "greedy") for number in range(10, 26)]
    until(lambda: engine.running == 8)
    assert timed(engine, 6, "other") < 3 * alone
    assert sum(made_room(stream) for stream in greedy) <= 1


def test_a_short_reply_is_not_behind_long_steps_of_others(model: FakeModel) -> None:
    """Sixteen rows take five times as long as one here, as on a processor."""
    sizes: list[int] = []

    class Batch(FakeBatch):
        def step(self) -> list[Sequence]:
            sizes.append(len(self.sequences))
            time.sleep(0.002 * (1 + len(self.sequences) / 4))
            return super().step()

    model.batch = lambda: Batch(model)  # type: ignore[method-assign]
    engine = Engine(model, queue_size=16, max_rows=16)
    try:
        streams = [ask(engine, number, "greedy") for number in range(10, 42)]
        until(lambda: engine.running == 16)
        before = len(sizes)
        reply_of(ask(engine, 6, "other"))
        steps = sizes[before:]
        assert steps.count(1) >= len(LONG) - 2
        # The one under way, and a third of the time for the others.
        assert sum(size > 1 for size in steps) <= 1 + len(LONG) * (0.002 * 2.25) / 3 / (0.002 * 6) + 1
        del streams
    finally:
        engine.close()


def test_a_full_queue_has_a_place_for_another_client_and_none_for_the_same(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    greedy = [ask(engine, number, "greedy") for number in range(10, 26)]
    until(lambda: engine.running == 8)
    with pytest.raises(Overloaded):
        ask(engine, 30, "greedy")
    others = [ask(engine, number, "other") for number in (31, 32)]
    model.gate.set()
    assert [reply_of(other) for other in others] == [LONG, LONG]
    assert sum(made_room(stream) for stream in greedy) <= 2


def test_a_client_alone_has_all_rows_in_one_batch(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    streams = [ask(engine, number, "only") for number in range(10, 26)]
    until(lambda: engine.running == 8)
    assert engine.rows == 8
    model.gate.set()
    for stream in streams:
        reply_of(stream)
    assert max(model.steps) == 8


def test_clients_with_a_request_each_share_a_batch(model: FakeModel, engine: Engine) -> None:
    model.gate.clear()
    streams = [ask(engine, number, f"client {number}") for number in range(10, 18)]
    until(lambda: engine.running == 8)
    model.gate.set()
    for stream in streams:
        reply_of(stream)
    assert max(model.steps) == 8


def test_the_same_client_may_come_by_many_requests_and_is_still_first_come_first_served(
    model: FakeModel, engine: Engine
) -> None:
    model.gate.clear()
    streams = [ask(engine, number, "only") for number in range(10, 26)]
    model.gate.set()
    for stream in streams:
        reply_of(stream)
    assert model.sources == [[number, 2] for number in range(10, 26)]


def test_several_greedy_clients_get_what_they_asked_for(model: FakeModel, engine: Engine) -> None:
    streams = [ask(engine, number, f"client {number % 3}") for number in range(10, 26)]
    assert [reply_of(stream) for stream in streams] == [LONG] * 16
    until(lambda: not engine.running)
