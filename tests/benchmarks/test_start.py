from __future__ import annotations

import sys

import pytest

from benchmarks.errors import ServerError
from benchmarks.journal import Journal
from benchmarks.schema import Missing, Start
from benchmarks.servers import LineUp, Server
from benchmarks.start import REPLIES, measure
from tests.benchmarks.fake_server import TOKENS


def server(mode: str, *, rival: bool = False) -> Server:
    return Server(mode, mode, mode, (sys.executable, "-m", "tests.benchmarks.fake_server", mode), rival=rival)


def started(*servers: Server, journal: Journal | None = None) -> tuple[dict[str, list[Start]], list[Missing]]:
    line_up = LineUp(servers, prompts=["two words"] * REPLIES, reply_tokens=TOKENS)
    return measure(line_up, 2, 2, lambda _: None, Journal() if journal is None else journal)


def test_every_start_but_the_first_is_kept() -> None:
    journal = Journal()
    starts, _ = started(server("honest"), journal=journal)
    assert {label: len(row) for label, row in starts.items()} == {"honest": 2}
    for start in starts["honest"]:
        assert start.ready_s > start.first_reply_s > 0
        assert start.peak_bytes >= start.ready_bytes > 1_000_000
    assert len(journal) == 3


def test_rival_that_does_not_start_or_reply_as_it_should_is_missing() -> None:
    starts, absent = started(server("stillborn", rival=True), server("short", rival=True))
    assert starts == {}
    reasons = {missing.name: missing.reason for missing in absent}
    assert "its last line: no wool left" in reasons["stillborn"]
    assert "wrong length" in reasons["short"]
    with pytest.raises(ServerError, match="did not become ready"):
        started(server("stillborn"))
