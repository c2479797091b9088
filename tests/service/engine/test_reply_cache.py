"""Equal requests are computed once while they are under way together, and finished replies are kept."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine.chat_model import load
from service.engine.engine import Engine
from service.engine.errors import Cancelled, DeadlineExceeded, EngineFault, EngineStopped, Overloaded
from service.engine.generation import TokenStream
from tests.service.echo import EchoModel, digest

PATIENCE_S = 10.0


@pytest.fixture
def model() -> EchoModel:
    return EchoModel()


@pytest.fixture
def engine(model: EchoModel) -> Iterator[Engine]:
    """Room for two requests, for two that wait, and for three replies."""
    engine = Engine(model, queue_size=2, max_rows=2, reply_cache=3)
    yield engine
    model.gate.set()
    engine.close()


def ask(engine: Engine, number: int, timeout_s: float = PATIENCE_S) -> TokenStream:
    return engine.submit([number, 2], timeout_s=timeout_s)


def reply_of(stream: TokenStream) -> list[int]:
    ids, done = stream.wait(PATIENCE_S)
    assert done, "no reply came"
    return ids


def expected(number: int) -> list[int]:
    return [1, *digest([number, 2]), 2]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


def test_a_reply_is_computed_once_and_is_the_same_each_time(model: EchoModel, engine: Engine) -> None:
    first = ask(engine, 5)
    assert reply_of(first) == expected(5)
    assert engine.cached == 1
    again = ask(engine, 5)
    assert again.done
    assert again.wait(0.0) == again.wait(0.0, known=3) == (expected(5), True)
    assert again.settings == first.settings
    assert model.sources == [[5, 2]]
    assert (first.timing.origin, again.timing.origin, again.timing.decode_s) == ("computed", "cached", 0.0)


def test_what_a_reader_does_to_its_tokens_leaves_the_cache_alone(engine: Engine) -> None:
    reply_of(ask(engine, 5))
    ask(engine, 5).wait(0.0).ids.clear()
    assert reply_of(ask(engine, 5)) == expected(5)


def test_a_hundred_who_ask_the_same_together_take_one_place_and_one_computation(
    model: EchoModel, engine: Engine
) -> None:
    model.gate.clear()
    with ThreadPoolExecutor(100) as pool:
        streams = list(pool.map(lambda _: ask(engine, 5), range(100)))
        until(lambda: engine.running == 1)
        assert engine.waiting == 0
        replies = [pool.submit(reply_of, stream) for stream in streams]
        model.gate.set()
        assert [reply.result() for reply in replies] == [expected(5)] * 100
    assert model.sources == [[5, 2]]
    assert sorted(stream.timing.origin for stream in streams) == ["computed", *["shared"] * 99]


def test_those_who_join_a_reply_that_waits_are_not_refused_by_a_full_queue(model: EchoModel, engine: Engine) -> None:
    model.gate.clear()
    running = [ask(engine, number) for number in (5, 6)]
    waiting = [ask(engine, number) for number in (7, 8)]
    joined = [ask(engine, 8) for _ in range(5)]
    with pytest.raises(Overloaded):
        ask(engine, 9)
    until(lambda: engine.waiting == 2)
    model.gate.set()
    assert [reply_of(stream) for stream in joined] == [expected(8)] * 5
    for stream in (*running, *waiting):
        reply_of(stream)
    assert reply_of(ask(engine, 9)) == expected(9), "what was refused must not be found"


def test_one_who_joins_late_sees_the_stream_from_its_beginning(model: EchoModel, engine: Engine) -> None:
    model.gate.clear()
    first = ask(engine, 5)
    until(lambda: engine.running == 1)
    second = ask(engine, 5)
    model.gate.set()
    for stream in (first, second):
        seen: list[int] = []
        done = False
        while not done:
            ids, done = stream.wait(PATIENCE_S, known=len(seen))
            assert ids[: len(seen)] == seen
            seen = list(ids)
        assert seen == expected(5)


def test_other_settings_are_another_reply(model: EchoModel, engine: Engine) -> None:
    short = replace(model.settings, max_length=6)
    whole, cut = ask(engine, 5), engine.submit([5, 2], timeout_s=PATIENCE_S, settings=short)
    assert reply_of(whole) == expected(5)
    assert reply_of(cut) == expected(5)[:6]
    assert len(model.sources) == 2


def test_what_is_drawn_at_random_is_computed_each_time(model: EchoModel, engine: Engine) -> None:
    drawn = replace(model.settings, do_sample=True, seed=1)
    for _ in range(2):
        reply_of(engine.submit([5, 2], timeout_s=PATIENCE_S, settings=drawn))
    assert len(model.sources) == 2
    assert engine.cached == 0


def test_the_reply_asked_for_least_recently_makes_room(model: EchoModel, engine: Engine) -> None:
    for number in (5, 6, 7):
        reply_of(ask(engine, number))
    reply_of(ask(engine, 5))
    reply_of(ask(engine, 8))
    assert engine.cached == 3
    assert ask(engine, 5).done
    assert not ask(engine, 6).done


@pytest.mark.parametrize("leaver", [0, 1])
def test_the_work_goes_on_while_one_of_those_who_asked_is_there(model: EchoModel, engine: Engine, leaver: int) -> None:
    model.gate.clear()
    streams = [ask(engine, 5), ask(engine, 5)]
    until(lambda: engine.running == 1)
    streams[leaver].cancel()
    with pytest.raises(Cancelled):
        streams[leaver].wait(PATIENCE_S)
    model.gate.set()
    assert reply_of(streams[1 - leaver]) == expected(5)
    assert streams[1 - leaver].timing.origin == "computed"
    assert model.sources == [[5, 2]]


def test_the_work_ends_when_all_have_left_and_who_comes_then_has_it_done_anew(model: EchoModel, engine: Engine) -> None:
    model.gate.clear()
    streams = [ask(engine, 5) for _ in range(3)]
    until(lambda: engine.running == 1)
    for stream in streams:
        stream.cancel()
        stream.cancel()
    until(lambda: engine.running == 0)
    again = ask(engine, 5)
    until(lambda: len(model.sources) == 2)
    model.gate.set()
    assert reply_of(again) == expected(5)


def test_each_has_its_own_deadline(model: EchoModel, engine: Engine) -> None:
    model.gate.clear()
    patient, hasty = ask(engine, 5), ask(engine, 5, timeout_s=0.05)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        hasty.wait(PATIENCE_S)
    assert time.monotonic() - started < PATIENCE_S / 2
    assert engine.running == 1
    model.gate.set()
    assert reply_of(patient) == expected(5)


def test_the_deadline_of_the_first_does_not_end_the_reply_of_those_who_came_later(
    model: EchoModel, engine: Engine
) -> None:
    model.gate.clear()
    hasty, patient = ask(engine, 5, timeout_s=0.05), ask(engine, 5)
    with pytest.raises(DeadlineExceeded):
        hasty.wait(PATIENCE_S)
    model.gate.set()
    assert reply_of(patient) == expected(5)
    assert model.sources == [[5, 2]]


def test_the_work_ends_at_the_last_deadline(model: EchoModel, engine: Engine) -> None:
    model.gate.clear()
    for stream in [ask(engine, 5, timeout_s=limit) for limit in (0.02, 0.05)]:
        with pytest.raises(DeadlineExceeded):
            stream.wait(PATIENCE_S)
    until(lambda: engine.running == 0)
    model.gate.set()
    assert reply_of(ask(engine, 5)) == expected(5)


def test_a_fault_is_told_to_all_who_asked_and_is_not_kept(
    model: EchoModel, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    model.gate.clear()
    with caplog.at_level(logging.CRITICAL, logger="service"):
        streams = [ask(engine, 5) for _ in range(3)]
        until(lambda: engine.running == 1)
        model.poison = 5
        faults = []
        for stream in streams:
            with pytest.raises(EngineFault, match="could not be computed") as fault:
                stream.wait(PATIENCE_S)
            faults.append(fault.value)
        assert len(set(map(id, faults))) == 3, "an error that threads share would gather all their traces"
        model.poison = None
        model.gate.set()
        assert reply_of(ask(engine, 5)) == expected(5)


def test_an_engine_that_dies_fails_all_who_asked_and_gives_nothing_from_the_cache(
    model: EchoModel, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    reply_of(ask(engine, 4))
    model.gate.clear()
    with caplog.at_level(logging.CRITICAL + 1, logger="service"):
        streams = [ask(engine, 5) for _ in range(3)]
        model.death = SystemExit("struck down")
        for stream in streams:
            with pytest.raises(EngineStopped):
                stream.wait(PATIENCE_S)
    with pytest.raises(EngineStopped):
        ask(engine, 4)


def test_with_no_entries_equal_requests_are_computed_one_by_one() -> None:
    model = EchoModel()
    engine = Engine(model, queue_size=8, max_rows=8)
    model.gate.clear()
    streams = [ask(engine, 5) for _ in range(4)]
    until(lambda: engine.running == 4)
    model.gate.set()
    assert [reply_of(stream) for stream in streams] == [expected(5)] * 4
    assert model.sources == [[5, 2]] * 4
    assert engine.cached == 0
    engine.close()


def test_in_a_crowd_that_leaves_and_runs_out_of_time_at_random_every_reply_is_right(model: EchoModel) -> None:
    engine = Engine(model, queue_size=1000, max_rows=4, reply_cache=2)

    def visit(number: int) -> bool:
        asked = 5 + number % 7
        stream = ask(engine, asked, timeout_s=0.01 if number % 5 == 0 else PATIENCE_S)
        if number % 3 == 0:
            threading.Event().wait(number % 11 / 1000)
            stream.cancel()
        try:
            return reply_of(stream) == expected(asked)
        except (Cancelled, DeadlineExceeded):
            return number % 3 == 0 or number % 5 == 0

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(visit, range(600)))
    until(lambda: engine.running == engine.waiting == 0)
    assert engine.cached == 2
    assert not engine._cache._under_way
    engine.close()


def test_replies_of_a_real_model_are_the_same_alone_shared_cached_and_among_others(short_export: Path) -> None:
    model = load(short_export, threads=1)
    own = model.settings
    kinds = [
        own,
        replace(own, max_length=7),
        replace(own, num_beams=4, length_penalty=2.0),
        replace(own, num_beams=1),
        replace(own, num_beams=1, do_sample=True, seed=7),
    ]
    asked = [([40 + 9 * number, 77, 60 + number, 2], settings) for number in range(8) for settings in kinds]
    alone = Engine(model, queue_size=1, max_rows=4)
    expected = [reply_of(alone.submit(source, timeout_s=60, settings=settings)) for source, settings in asked]
    alone.close()
    engine = Engine(model, queue_size=1000, max_rows=40, reply_cache=12)
    draw = random.Random(6)
    order = [number for number in range(len(asked)) for _ in range(10)]
    draw.shuffle(order)

    def visit(number: int) -> tuple[int, list[int], str]:
        source, settings = asked[number]
        stream = engine.submit(source, timeout_s=60, settings=settings)
        ids: list[int] = []
        done = False
        while not done:
            seen = ids
            ids, done = stream.wait(60, known=len(seen) if number % 2 else None)
            assert ids[: len(seen)] == seen
        return number, ids, stream.timing.origin

    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(visit, order))
    engine.close()
    assert [ids for _, ids, _ in found] == [expected[number] for number, _, _ in found]
    drawn = {origin for number, _, origin in found if asked[number][1].do_sample}
    others = {origin for number, _, origin in found if not asked[number][1].do_sample}
    assert drawn == {"computed"}
    assert others == {"computed", "shared", "cached"}
