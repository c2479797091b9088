from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import fairness, heat
from benchmarks.contestants import REFERENCE, Contestant
from benchmarks.errors import ContestantError
from benchmarks.fairness import source
from benchmarks.heat import agreement
from benchmarks.schema import Agreement
from tests.benchmarks.races import SIZES, contestant, raced

KEY = str(SIZES)
DESCRIPTION = {"vocab_size": 20, "special_ids": [0, 1, 2, 3, 20], "eos_id": 2}


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_every_contestant_runs_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    honest = contestant("honest")
    result = raced(honest, replace(honest, label="again"))
    assert result.race.sizes == SIZES
    assert result.labels == ["honest", "again"]
    assert result.missing == {}
    for timing in result.race.timings:
        assert len(timing.seconds) == len(timing.cpu_s) == 2
        assert (timing.peak_bytes or 0) > 1_000_000
    shown = lines(capsys)
    assert shown[:4] == [
        f"{KEY}: loading honest",
        f"{KEY}: loading again",
        f"{KEY}: warm-up: honest",
        f"{KEY}: warm-up: again",
    ]
    assert shown[5].startswith(f"{KEY}: round 2 of 2: honest ")
    for participant in result.participants:
        assert participant.engine == {"speed": "none"}
        assert participant.versions == {}  # as here
        assert participant.settings_lacking == []


def test_each_round_has_a_source_which_all_contestants_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[str, list[int], list[int]]] = []

    def check_reply(entrant: Contestant, request: Mapping[str, Any], tokens: list[int], _: object) -> None:
        checked.append((entrant.label, request["ids"], tokens))

    monkeypatch.setattr(fairness, "check_reply", check_reply)
    first = contestant("honest")
    raced(first, replace(first, label="second"))
    # One reply of each that is watched, then two rounds, in which another goes first.
    assert [label for label, *_ in checked] == ["honest", "second", "honest", "second", "second", "honest"]
    for (_, ids, tokens), number in zip(checked, (-1, -1, 0, 0, 1, 1), strict=True):
        assert ids == source(DESCRIPTION, 6, number)
        assert tokens == (ids[::-1] * 4)[:4]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("short", "short generated 3 tokens where 4 were asked for"),
        ("dies", "The dies process ended with exit code 7; its last line: out of luck"),
        (
            "stranger",
            r"stranger \(models/stranger\) does not do what honest \(models/honest\) does: num_beams is 3 where",
        ),
        ("unloadable", "The unloadable process could not load: OSError: the files are of another time"),
    ],
)
def test_fault_of_our_own_stops_the_run(mode: str, message: str) -> None:
    with pytest.raises(ContestantError, match=message):
        raced(contestant("honest"), contestant(mode))


def test_ban_that_is_claimed_but_not_kept_stops_the_run() -> None:
    with pytest.raises(ContestantError, match="deaf does not apply no_repeat_ngram_size, which is 2"):
        raced(contestant("deaf"))


def test_setting_that_a_rival_lacks_is_noted() -> None:
    twin = replace(contestant("honest"), other_model="a twin", lacks=("encoder_no_repeat_ngram_size", "min_length"))
    result = raced(twin, contestant("careful"))
    lacking = [participant.settings_lacking for participant in result.participants]
    assert lacking == [["encoder_no_repeat_ngram_size"], []]
    with pytest.raises(ContestantError, match="encoder_no_repeat_ngram_size is None where the reference has 2"):
        raced(replace(twin, lacks=()), contestant("careful"))


def test_rival_that_cannot_be_loaded_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    result = raced(contestant("honest"), contestant("unloadable", rival=True))
    reason = "The unloadable process could not load: OSError: the files are of another time"
    assert result.missing == {"unloadable": reason}
    assert result.labels == ["honest"]
    assert lines(capsys).count(f"unloadable is missing: {reason}.") == 1


def test_replies_are_compared_with_torchs_where_the_model_is_the_same() -> None:
    torch = replace(contestant("honest"), name=REFERENCE, label=REFERENCE)
    twin = replace(contestant("honest"), label="twin", name="twin", other_model="a twin")
    result = raced(torch, contestant("other", rival=True), twin)
    assert {timing.label: timing.same_as_torch for timing in result.race.timings} == {
        REFERENCE: Agreement(equal=2, replies=2),
        "other": Agreement(equal=0, replies=2),
        "twin": None,
    }


@pytest.mark.parametrize(
    ("noises", "kept", "repeated"),
    [([0.3, 0.2, 0.4], [0.2, 0.3, 0.4], 2), ([0.3, 0.05], [0.05, 0.3], 1), ([0.05], [0.05], 0)],
)
def test_rounds_are_run_again_while_the_pair_is_noisy_and_the_quietest_are_kept(
    noises: list[float],
    kept: list[float],
    repeated: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds: dict[float, list[float]] = {}

    def noise(first: list[float], _: list[float]) -> float:
        value = noises[len(rounds)]
        rounds[value] = first
        return value

    monkeypatch.setattr(heat, "pair_noise", noise)
    honest = contestant("honest")
    race = raced(honest, replace(honest, label="honest (again)")).race
    assert race.a_a is not None
    assert race.a_a.noise == kept
    assert race.a_a.same == Agreement(equal=2, replies=2)
    assert race.timings[0].seconds == rounds[min(noises)]
    shown = lines(capsys)
    assert sum("running the rounds again" in line for line in shown) == repeated
    assert sum("the quietest rounds are kept" in line for line in shown) == (kept[0] > 0.1)


def test_agreement_counts_equal_replies() -> None:
    first, second = [[1, 2, 3], [1, 2, 3], [4, 5, 6]], [[1, 2, 3], [1, 9, 3], [9, 5, 6]]
    assert agreement(first, second) == Agreement(equal=1, replies=3)
    assert agreement(first, first) == Agreement(equal=3, replies=3)
