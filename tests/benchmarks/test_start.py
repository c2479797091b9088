from __future__ import annotations

import sys

import pytest

from benchmarks.errors import ServerError
from benchmarks.journal import Journal
from benchmarks.load import LoadWorkload, Server
from benchmarks.loops import ClosedLoop, Limit
from benchmarks.start import REPLIES, StartRun, measure
from tests.benchmarks.fake_server import TOKENS

WORKLOAD = LoadWorkload((ClosedLoop(1),), Limit(requests=1), 2, 1, 6, 2, 1, 10.0)


def server(mode: str, *, rival: bool = False) -> Server:
    return Server(mode, mode, mode, (sys.executable, "-m", "tests.benchmarks.fake_server", mode), rival=rival)


def started(*servers: Server, journal: Journal | None = None) -> StartRun:
    return measure(
        servers, WORKLOAD, ["two words"] * REPLIES, TOKENS, lambda _: None, Journal() if journal is None else journal
    )


def test_every_start_but_the_first_is_kept() -> None:
    journal = Journal()
    found = started(server("honest"), journal=journal)
    assert [start.label for start in found.starts] == ["honest", "honest"]
    for start in found.starts:
        assert start.ready_s > start.first_reply_s > 0
        assert start.peak_bytes >= start.ready_bytes > 1_000_000
    assert len(journal) == 3


def test_rival_that_does_not_start_or_reply_as_it_should_is_missing() -> None:
    found = started(server("stillborn", rival=True), server("short", rival=True))
    assert found.starts == ()
    reasons = {missing.name: missing.reason for missing in found.missing}
    assert "its last words: no wool left" in reasons["stillborn"]
    assert "wrong length" in reasons["short"]
    with pytest.raises(ServerError, match="did not become ready"):
        started(server("stillborn"))
