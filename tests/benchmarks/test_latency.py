from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.errors import BackendError, InputError, WorkloadError
from benchmarks.latency import Contestant, LatencyRun, measure
from benchmarks.workload import Vocabulary, Workload, source

VOCABULARY = Vocabulary(20, frozenset({0, 1, 2, 3, 20}), 2)
WORKLOAD = Workload(beams=(3, 1), new_tokens=4, source_tokens=6, rounds=2, threads=1)


def contestant(mode: str) -> Contestant:
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    return Contestant(mode, command, Path("models") / mode)


def run(*modes: str, lines: list[str] | None = None) -> LatencyRun:
    told = [] if lines is None else lines
    return measure([contestant(mode) for mode in modes], WORKLOAD, told.append)


def test_every_beam_width_gets_every_round_of_every_backend() -> None:
    lines: list[str] = []
    result = run("honest", "honest", lines=lines)
    assert [beam.beams for beam in result.results] == [3, 1]
    assert result.decoding == {"num_beams": 10}
    expected = [(source(WORKLOAD, VOCABULARY, number)[::-1] * 4)[:4] for number in range(2)]
    for beam in result.results:
        for backend in beam.backends:
            assert len(backend.seconds) == 2
            assert backend.replies == expected
            assert backend.peak_bytes >= backend.loaded_bytes > 0
            assert (backend.import_s, backend.load_s) == (0.25, 0.5)
    assert lines[:3] == ["beam 3: loading honest", "beam 3: loading honest", "beam 3: warm-up"]
    assert lines[4].startswith("beam 3: round 2 of 2: honest ")


def test_wrong_number_of_tokens_stops_the_run() -> None:
    with pytest.raises(WorkloadError, match="short generated 3 tokens where 4 were asked for"):
        run("honest", "short")


def test_backend_that_dies_stops_the_run() -> None:
    with pytest.raises(BackendError, match="The dies process ended with exit code 7; its last words: out of luck"):
        run("honest", "dies")


def test_other_decoding_settings_stop_the_run() -> None:
    message = "models/stranger is not an export of models/honest: num_beams is 3 where the checkpoint has 10"
    with pytest.raises(InputError, match=message):
        run("honest", "stranger")


def test_sources_have_the_length_asked_end_once_and_differ_between_rounds() -> None:
    sources = [source(WORKLOAD, VOCABULARY, number) for number in range(-1, 20)]
    for ids in sources:
        assert len(ids) == 6
        assert ids[-1] == 2
        assert not set(ids[:-1]) & VOCABULARY.special_ids
    assert len({tuple(ids) for ids in sources}) == len(sources)
    assert sources == [source(WORKLOAD, VOCABULARY, number) for number in range(-1, 20)]
