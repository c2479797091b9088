from __future__ import annotations

import pytest

from benchmarks.event_stream import Event, EventParser

STREAM = (
    ": a comment\n\n"
    'data: {"delta": "naïve"}\n\n'
    "id: 7\r\ndata:one\r\ndata: two\r\n\r\n"
    "event: done\ndata: {}\n\n"
    "event: forgotten\n\n"
    "data: last"
).encode()
EVENTS = [Event("message", '{"delta": "naïve"}'), Event("message", "one\ntwo"), Event("done", "{}")]


@pytest.mark.parametrize("size", [1, 2, 7, len(STREAM)])
def test_events_are_the_same_wherever_the_stream_is_cut(size: int) -> None:
    parser = EventParser()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_event_is_given_as_soon_as_it_is_complete() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\ndata: b") == [Event("message", "a")]
    assert parser.feed(b"\n\n") == [Event("message", "b")]
