from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import load, loops, server_process
from benchmarks.errors import ServerError
from benchmarks.journal import Journal
from benchmarks.load import LoadRun, LoadWorkload, Server, measure
from benchmarks.loops import ClosedLoop, Limit, OpenLoop
from tests.benchmarks.fake_server import TOKENS

PROMPTS = ["how are you", "what is new", "where is Ann"]
WORKLOAD = LoadWorkload(
    loops=(ClosedLoop(1), ClosedLoop(3)),
    limit=Limit(requests=4),
    rounds=2,
    beams=1,
    new_tokens=TOKENS,
    source_tokens=3,
    threads=1,
    timeout_s=5.0,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "QUIET_S", 0.1)
    monkeypatch.setattr(loops, "PAUSE_AFTER_ERROR_S", 0.05)
    monkeypatch.setattr(load, "SETTLE_TIMEOUT_S", 1.0)


def server(mode: str, *, rival: bool = False, stream: bool = False) -> Server:
    command = (sys.executable, "-m", "tests.benchmarks.fake_server", mode)
    return Server(mode, mode, f"{mode} as it is", command, stream=stream, rival=rival)


def run(*servers: Server, workload: LoadWorkload = WORKLOAD, lines: list[str] | None = None) -> LoadRun:
    told = [] if lines is None else lines
    return measure(servers, workload, PROMPTS, TOKENS, told.append)


def test_servers_take_turns_and_every_request_is_kept() -> None:
    lines: list[str] = []
    outcome = run(server("honest"), server("streams", stream=True), lines=lines)
    assert [line.rsplit(": ", 1)[0] for line in lines[2:]] == [
        "round 1 of 2: 1 client: honest",
        "round 1 of 2: 1 client: streams",
        "round 1 of 2: 3 clients: honest",
        "round 1 of 2: 3 clients: streams",
        "round 2 of 2: 1 client: streams",
        "round 2 of 2: 1 client: honest",
        "round 2 of 2: 3 clients: streams",
        "round 2 of 2: 3 clients: honest",
    ]
    assert lines[2].startswith("round 1 of 2: 1 client: honest: 4 replies in 0.")
    assert [result.loop for result in outcome.results] == [ClosedLoop(1), ClosedLoop(3)]
    for result in outcome.results:
        assert [runs.label for runs in result.servers] == ["honest", "streams"]
        for runs in result.servers:
            assert [one.round for one in runs.runs] == [0, 1]
            for one in runs.runs:
                assert len(one.replies) == len(one.exchanges) == 4
                assert one.replies_per_s == 4 / one.seconds
                assert one.errors == one.warm_up_errors == {}
                assert one.ended == ""
                streamed = [exchange.first_text_s is not None for exchange in one.exchanges]
                assert streamed == [runs.label == "streams"] * 4
    assert all(size > 1_000_000 for size in outcome.peak_bytes.values())


def test_errors_are_counted_and_not_dropped() -> None:
    workload = LoadWorkload(**{**vars(WORKLOAD), "rounds": 1, "loops": (OpenLoop(100.0, 1), ClosedLoop(2))})
    outcome = run(server("short"), workload=workload)
    crowded, waiting = (result.servers[0].runs[0] for result in outcome.results)
    assert crowded.replies == waiting.replies == ()
    assert set(crowded.errors) == {"wrong length", "not sent"}
    assert crowded.errors.total() == 4
    assert waiting.errors == {"wrong length": 4}
    assert waiting.warm_up_errors == {"wrong length": 2}
    assert waiting.replies_per_s == 0


def test_rival_that_does_not_start_is_left_out() -> None:
    workload = LoadWorkload(**{**vars(WORKLOAD), "rounds": 1, "loops": (ClosedLoop(1),)})
    lines: list[str] = []
    outcome = run(server("stillborn", rival=True), server("honest"), workload=workload, lines=lines)
    ((name, reason),) = [(missing.name, missing.reason) for missing in outcome.missing]
    assert name == "stillborn"
    assert (
        reason == "The stillborn server did not become ready: it ended with exit code 7; its last words: no wool left"
    )
    assert [one.label for one in outcome.servers] == ["honest"]
    assert lines[1] == f"stillborn is missing: {reason}."
    with pytest.raises(ServerError, match="no wool left"):
        run(server("stillborn"), server("honest"), workload=workload)
    with pytest.raises(ServerError, match="None of the servers started"):
        run(server("stillborn", rival=True), workload=workload)


def test_server_that_ends_is_started_again() -> None:
    workload = LoadWorkload(**{**vars(WORKLOAD), "loops": (ClosedLoop(1),), "limit": Limit(requests=2)})
    lines: list[str] = []
    outcome = run(server("mortal"), workload=workload, lines=lines)
    first, second = outcome.results[0].servers[0].runs
    assert first.errors == second.errors == {"connection": 2}
    assert first.ended == second.ended == "ended with exit code 7; its last words: out of luck"
    assert lines[2] == "mortal ended with exit code 7; its last words: out of luck; starting it again"


def test_server_that_goes_on_working_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SETTLE_TIMEOUT_S", 0.2)
    workload = LoadWorkload(**{**vars(WORKLOAD), "loops": (ClosedLoop(1),), "rounds": 1})
    lines: list[str] = []
    outcome = run(server("restless"), workload=workload, lines=lines)
    assert outcome.results[0].servers[0].runs[0].errors == {}
    assert lines[2] == "restless goes on working on what was given up; starting it again"


def test_loads_with_a_noisy_pair_are_run_again_and_the_quietest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    noises = iter([0.3, 0.02, 0.2])
    monkeypatch.setattr(load, "noise", lambda _: next(noises))
    first = server("honest")
    lines: list[str] = []
    outcome = run(first, first.again(), lines=lines)
    assert [result.noise for result in outcome.results] == [(0.2, 0.3), (0.02,)]
    assert "1 client: too noisy: the A/A pair differs by 30%; running the rounds again" in lines
    assert "1 client: too noisy: the A/A pair differs by 20%; the quietest rounds are kept" in lines
    assert sum(": 1 client: honest: " in line for line in lines) == 4
    assert sum(": 3 clients: honest: " in line for line in lines) == 2


def test_interrupted_load_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    def stop_at(line: str) -> None:
        if line.startswith("round 2 of 2: 1 client"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([server("honest")], WORKLOAD, PROMPTS, TOKENS, stop_at, Journal(path))
    kept = Journal(path)
    assert len(kept) == 3
    outcome = measure([server("honest")], WORKLOAD, PROMPTS, TOKENS, lambda _: None, kept)
    first = kept.get("attempt 0, round 0, 1 client, honest")["run"]["exchanges"][0]
    (alone, _) = outcome.results
    assert [len(one.replies) for one in alone.servers[0].runs] == [4, 4]
    assert alone.servers[0].runs[0].exchanges[0].seconds == first["seconds"]
    assert outcome.peak_bytes["honest"] > 1_000_000
