from __future__ import annotations

import sys

import pytest

from benchmarks.errors import ServerError
from benchmarks.schema import Sizes
from benchmarks.servers import LineUp, Server
from benchmarks.session import Session
from benchmarks.start import REPLIES, measure
from tests.benchmarks.fake_server import TOKENS

SIZES = Sizes(beams=1, source_tokens=2, new_tokens=TOKENS, threads=1)


def server(mode: str, *, rival: bool = False) -> Server:
    return Server(mode, mode, (sys.executable, "-m", "tests.benchmarks.fake_server", mode), rival=rival)


def line_up(*servers: Server) -> LineUp:
    return LineUp(servers, SIZES, prompts=["two words"] * REPLIES, reply_tokens=TOKENS)


def test_every_start_but_the_first_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    starts = measure(line_up(server("honest")), 2, Session())
    assert {label: len(row) for label, row in starts.items()} == {"honest": 2}
    for start in starts["honest"]:
        assert start.ready_s > start.first_reply_s > 0
        assert start.peak_bytes >= start.ready_bytes > 1_000_000
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_rival_that_does_not_start_or_reply_as_it_should_is_missing() -> None:
    session = Session()
    assert measure(line_up(server("stillborn", rival=True), server("short", rival=True)), 2, session) == {}
    assert "its last line: no wool left" in session.missing["stillborn"]
    assert "wrong length" in session.missing["short"]
    with pytest.raises(ServerError, match="did not become ready"):
        measure(line_up(server("stillborn")), 2, Session())
