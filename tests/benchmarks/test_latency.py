from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import latency
from benchmarks.errors import ArgumentError, BackendError, InputError, WorkloadError
from benchmarks.journal import Journal
from benchmarks.latency import measure
from benchmarks.runs import Contestant, LatencyRun, Missing
from benchmarks.workload import Vocabulary, Workload, broken_ban, source

VOCABULARY = Vocabulary(20, frozenset({0, 1, 2, 3, 20}), 2)
WORKLOAD = Workload(beams=(3, 1), new_tokens=4, source_tokens=6, rounds=2, threads=1)


def contestant(mode: str) -> Contestant:
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    return Contestant(mode, command, Path("models") / mode, name=mode, packages=("numpy",))


def run(*entries: str | Contestant, lines: list[str] | None = None) -> LatencyRun:
    told = [] if lines is None else lines
    contestants = [contestant(entry) if isinstance(entry, str) else entry for entry in entries]
    return measure(contestants, WORKLOAD, told.append)


def test_every_beam_width_gets_every_round_of_every_backend() -> None:
    lines: list[str] = []
    result = run("honest", replace(contestant("honest"), label="again"), lines=lines)
    assert [beam.beams for beam in result.results] == [3, 1]
    assert result.decoding == {"num_beams": 10}
    assert result.missing == ()
    expected = [(source(WORKLOAD, VOCABULARY, number)[::-1] * 4)[:4] for number in range(2)]
    for beam in result.results:
        assert [backend.label for backend in beam.backends] == ["honest", "again"]
        for backend in beam.backends:
            assert len(backend.seconds) == len(backend.cpu_s) == 2
            assert backend.replies == expected
            assert backend.peak_bytes >= backend.loaded_bytes > 0
            assert (backend.import_s, backend.load_s) == (0.25, 0.5)
    assert lines[:4] == [
        "beam 3: loading honest",
        "beam 3: loading again",
        "beam 3: warm-up: honest",
        "beam 3: warm-up: again",
    ]
    assert any(line.startswith("beam 3: round 2 of 2: honest ") for line in lines)
    for participant in result.participants:
        assert participant.engine == {"speed": "none"}
        assert list(participant.versions) == ["numpy"]
        assert participant.lacking == ()


def test_wrong_number_of_tokens_stops_the_run() -> None:
    with pytest.raises(WorkloadError, match="short generated 3 tokens where 4 were asked for"):
        run("honest", "short")


def test_backend_that_dies_stops_the_run() -> None:
    with pytest.raises(BackendError, match="The dies process ended with exit code 7; its last words: out of luck"):
        run("honest", "dies")


def test_other_decoding_settings_stop_the_run() -> None:
    message = r"stranger \(models/stranger\) does not do what honest \(models/honest\) does: num_beams is 3 where"
    with pytest.raises(InputError, match=message):
        run("honest", "stranger")


def test_ban_that_is_claimed_but_not_kept_stops_the_run() -> None:
    with pytest.raises(WorkloadError, match="deaf does not apply no_repeat_ngram_size, which is 2"):
        run("deaf")


def test_setting_that_a_rival_lacks_is_noted() -> None:
    twin = replace(contestant("honest"), other_model="a twin", lacks=("encoder_no_repeat_ngram_size", "min_length"))
    result = run(twin, "careful")
    assert result.decoding == {"num_beams": 10, "encoder_no_repeat_ngram_size": 2}
    assert result.participants[0].lacking == ("encoder_no_repeat_ngram_size",)
    assert result.participants[1].lacking == ()
    with pytest.raises(InputError, match="encoder_no_repeat_ngram_size is None where the reference has 2"):
        run(replace(twin, lacks=()), "careful")


def test_rival_that_cannot_be_loaded_is_left_out() -> None:
    lines: list[str] = []
    result = run("honest", replace(contestant("unloadable"), rival=True), lines=lines)
    reason = "The unloadable process could not load: OSError: the files are of another time"
    assert result.missing == (Missing("unloadable", reason),)
    assert [[backend.label for backend in beam.backends] for beam in result.results] == [["honest"], ["honest"]]
    assert lines.count(f"unloadable is missing: {reason}.") == 1
    with pytest.raises(BackendError, match="could not load"):
        run("honest", "unloadable")


def test_rounds_are_run_again_while_the_pair_is_noisy_and_the_quietest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noises = iter([0.3, 0.2, 0.4, 0.05])
    monkeypatch.setattr(latency, "pair_noise", lambda *_: next(noises))
    lines: list[str] = []
    result = run("honest", replace(contestant("honest"), label="again"), lines=lines)
    assert [beam.noise for beam in result.results] == [(0.2, 0.3, 0.4), (0.05,)]
    assert sum("running the rounds again" in line for line in lines) == 2
    assert sum("the quietest rounds are kept" in line for line in lines) == 1
    assert all(len(backend.seconds) == 2 for beam in result.results for backend in beam.backends)


def test_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    contestants = [contestant("honest"), replace(contestant("honest"), label="again", name="again")]

    def stop_at(line: str) -> None:
        if line.startswith("beam 1: round 1 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(contestants, WORKLOAD, stop_at, Journal(path, "same"))
    kept = Journal(path, "same")
    first = kept.get("beam 1, attempt 0, round 0")
    lines: list[str] = []
    result = measure(contestants, WORKLOAD, lines.append, kept)
    assert lines[0] == "beam 3: kept from the run that was interrupted"
    assert not any(line.startswith("beam 3: loading") for line in lines)
    wide, greedy = result.results
    assert [len(backend.seconds) for backend in (*wide.backends, *greedy.backends)] == [2, 2, 2, 2]
    assert {backend.label: backend.seconds[0] for backend in greedy.backends} == {
        label: values[0] for label, values in first.items()
    }


def test_somebody_must_run_the_checkpoint() -> None:
    with pytest.raises(ArgumentError, match="At least one contestant"):
        run(replace(contestant("honest"), other_model="a twin"))


def test_sources_have_the_length_asked_end_once_and_differ_between_rounds() -> None:
    sources = [source(WORKLOAD, VOCABULARY, number) for number in range(-1, 20)]
    for ids in sources:
        assert len(ids) == 6
        assert ids[-1] == 2
        assert not set(ids[:-1]) & VOCABULARY.special_ids
    assert len({tuple(ids) for ids in sources}) == len(sources)
    assert sources == [source(WORKLOAD, VOCABULARY, number) for number in range(-1, 20)]


@pytest.mark.parametrize(
    ("reply", "decoding", "broken"),
    [
        ([7, 8, 9, 7, 8, 2], {"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ([7, 8, 9, 7, 8, 2], {"no_repeat_ngram_size": 3}, None),
        ([7, 8, 9, 7, 8], {"no_repeat_ngram_size": 2}, None),
        ([9, 4, 5, 9, 2], {"encoder_no_repeat_ngram_size": 2}, "encoder_no_repeat_ngram_size"),
        ([9, 4, 5, 9, 2], {"encoder_no_repeat_ngram_size": 3}, None),
        ([7, 7, 7, 7, 7], {}, None),
    ],
)
def test_bans_are_checked_in_the_reply(reply: list[int], decoding: dict[str, int], broken: str | None) -> None:
    assert broken_ban([4, 5, 6, 2], reply, decoding) == broken
