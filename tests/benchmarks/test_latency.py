from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import latency
from benchmarks.contestants import REFERENCE
from benchmarks.errors import ArgumentError, ContestantError
from benchmarks.fairness import source
from benchmarks.journal import Journal
from benchmarks.latency import Grid, agreement, growing
from benchmarks.schema import Agreement, Sizes
from tests.benchmarks.races import POINT, contestant, raced

SIZES = POINT[1]
GREEDY = ("", SIZES.model_copy(update={"beams": 1}))
KEY, GREEDY_KEY = (str(point[1]) for point in (POINT, GREEDY))
DESCRIPTION = {"vocab_size": 20, "special_ids": [0, 1, 2, 3, 20], "eos_id": 2}


def test_every_beam_width_gets_every_round_of_every_contestant() -> None:
    lines: list[str] = []
    journal = Journal()
    honest = contestant("honest")
    grid = raced(honest, replace(honest, label="again"), points=(POINT, GREEDY), progress=lines.append, journal=journal)
    assert [race.sizes.beams for race in grid.races] == [3, 1]
    assert grid.decoding() == {"num_beams": 10}
    assert grid.missing == {}
    for race, key in zip(grid.races, (KEY, GREEDY_KEY), strict=True):
        assert [timing.label for timing in race.timings] == ["honest", "again"]
        for timing in race.timings:
            assert len(timing.seconds) == len(timing.cpu_s) == 2
            assert (timing.peak_bytes or 0) >= (timing.loaded_bytes or 0) > 0
            assert (timing.import_s, timing.load_s) == (0.25, 0.5)
        for number in range(2):
            expected = (source(DESCRIPTION, 6, number)[::-1] * 4)[:4]
            replies = journal.get(f"{key}, attempt 0, round {number}")
            assert {label: reply[2] for label, reply in replies.items()} == {"honest": expected, "again": expected}
    assert lines[:4] == [
        f"{KEY}: loading honest",
        f"{KEY}: loading again",
        f"{KEY}: warm-up: honest",
        f"{KEY}: warm-up: again",
    ]
    assert any(line.startswith(f"{KEY}: round 2 of 2: honest ") for line in lines)
    for participant in grid.participants():
        assert participant.engine == {"speed": "none"}
        assert list(participant.versions) == ["numpy"]
        assert participant.settings_lacking == []


def test_who_goes_first_changes_from_round_to_round() -> None:
    first = contestant("honest")
    journal = Journal()
    raced(first, replace(first, label="second"), journal=journal)
    orders = [list(journal.get(f"{KEY}, attempt 0, round {number}")) for number in range(2)]
    assert orders == [["honest", "second"], ["second", "honest"]]


def test_wrong_number_of_tokens_stops_the_run() -> None:
    with pytest.raises(ContestantError, match="short generated 3 tokens where 4 were asked for"):
        raced(contestant("honest"), contestant("short"))


def test_worker_that_dies_stops_the_run() -> None:
    with pytest.raises(ContestantError, match="The dies process ended with exit code 7; its last line: out of luck"):
        raced(contestant("honest"), contestant("dies"))


def test_other_decoding_settings_stop_the_run() -> None:
    message = r"stranger \(models/stranger\) does not do what honest \(models/honest\) does: num_beams is 3 where"
    with pytest.raises(ContestantError, match=message):
        raced(contestant("honest"), contestant("stranger"))


def test_ban_that_is_claimed_but_not_kept_stops_the_run() -> None:
    with pytest.raises(ContestantError, match="deaf does not apply no_repeat_ngram_size, which is 2"):
        raced(contestant("deaf"))


def test_setting_that_a_rival_lacks_is_noted() -> None:
    twin = replace(contestant("honest"), other_model="a twin", lacks=("encoder_no_repeat_ngram_size", "min_length"))
    grid = raced(twin, contestant("careful"))
    assert grid.decoding() == {"num_beams": 10, "encoder_no_repeat_ngram_size": 2}
    assert [participant.settings_lacking for participant in grid.participants()] == [
        ["encoder_no_repeat_ngram_size"],
        [],
    ]
    with pytest.raises(ContestantError, match="encoder_no_repeat_ngram_size is None where the reference has 2"):
        raced(replace(twin, lacks=()), contestant("careful"))


def test_rival_that_cannot_be_loaded_is_left_out() -> None:
    lines: list[str] = []
    grid = raced(
        contestant("honest"), contestant("unloadable", rival=True), points=(POINT, GREEDY), progress=lines.append
    )
    reason = "The unloadable process could not load: OSError: the files are of another time"
    assert grid.missing == {"unloadable": reason}
    assert [[timing.label for timing in race.timings] for race in grid.races] == [["honest"], ["honest"]]
    assert lines.count(f"unloadable is missing: {reason}.") == 1
    with pytest.raises(ContestantError, match="could not load"):
        raced(contestant("honest"), contestant("unloadable"))


def test_replies_are_compared_with_torchs_where_the_model_is_the_same() -> None:
    torch = replace(contestant("honest"), name=REFERENCE, label=REFERENCE)
    twin = replace(contestant("honest"), label="twin", name="twin", other_model="a twin")
    (race,) = raced(torch, contestant("other", rival=True), twin).races
    same = {timing.label: timing.same_as_torch for timing in race.timings}
    assert same[REFERENCE] == Agreement(equal=2, replies=2, shared_tokens=4)
    assert same["other"] == Agreement(equal=0, replies=2, shared_tokens=3)
    assert same["twin"] is None


def test_rounds_are_run_again_while_the_pair_is_noisy_and_the_quietest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noises = iter([0.3, 0.2, 0.4, 0.05])
    monkeypatch.setattr(latency, "pair_noise", lambda *_: next(noises))
    lines: list[str] = []
    honest = contestant("honest")
    journal = Journal()
    again = replace(honest, label="honest (again)")
    grid = raced(honest, again, points=(POINT, GREEDY), progress=lines.append, journal=journal)
    assert [race.a_a and race.a_a.noise for race in grid.races] == [[0.2, 0.3, 0.4], [0.05]]
    assert sum("running the rounds again" in line for line in lines) == 2
    assert sum("the quietest rounds are kept" in line for line in lines) == 1
    kept = [journal.get(f"{KEY}, attempt 1, round {number}")["honest"][0] for number in range(2)]
    assert grid.races[0].timings[0].seconds == kept


def test_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    contestants = [contestant("honest"), replace(contestant("honest"), label="again", name="again")]

    def stop_at(line: str) -> None:
        if line.startswith(f"{GREEDY_KEY}: round 1 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raced(*contestants, points=(POINT, GREEDY), progress=stop_at, journal=Journal(path, "same"))
    journal = Journal(path, "same")
    first = journal.get(f"{GREEDY_KEY}, attempt 0, round 0")
    lines: list[str] = []
    grid = raced(*contestants, points=(POINT, GREEDY), progress=lines.append, journal=journal)
    assert lines[0] == f"{KEY}: kept from the run that was interrupted"
    assert not any(line.startswith(f"{KEY}: loading") for line in lines)
    wide, greedy = grid.races
    assert [len(timing.seconds) for timing in (*wide.timings, *greedy.timings)] == [2, 2, 2, 2]
    assert {timing.label: timing.seconds[0] for timing in greedy.timings} == {
        label: values[0] for label, values in first.items()
    }


def test_somebody_must_run_the_checkpoint() -> None:
    with pytest.raises(ArgumentError, match="At least one contestant"):
        raced(replace(contestant("honest"), other_model="a twin"))


def test_one_setting_grows_at_a_time() -> None:
    base = Sizes(beams=10, source_tokens=28, new_tokens=60, threads=2)
    points = growing(base, positions=64)
    axes = ("beams", "source_tokens", "new_tokens", "threads")
    assert {axis for axis, _ in points} == set(axes)
    assert max(sizes.source_tokens for _, sizes in points) == 64
    for axis, sizes in points:
        assert all(getattr(sizes, other) == getattr(base, other) for other in axes if other != axis)


def test_points_that_grow_share_the_processes() -> None:
    points = [("beams", SIZES), ("new_tokens", SIZES.model_copy(update={"new_tokens": 8}))]
    lines: list[str] = []
    grid = Grid([contestant("honest"), contestant("wide", rival=True)], 2, lines.append, Journal())
    grid.run(points)
    assert [(race.axis, [timing.label for timing in race.timings]) for race in grid.races] == [
        ("beams", ["honest"]),
        ("new_tokens", ["honest"]),
    ]
    assert sum("loading honest" in line for line in lines) == 1
    assert "4 beams where 3 were asked for" in grid.missing["wide"]


def test_agreement_counts_equal_replies_and_shared_beginnings() -> None:
    first = [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    second = [[1, 2, 3], [1, 9, 3], [9, 5, 6]]
    assert agreement(first, second) == Agreement(equal=1, replies=3, shared_tokens=1)
    assert agreement(first, first) == Agreement(equal=3, replies=3, shared_tokens=3)
