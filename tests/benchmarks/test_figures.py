"""The one statistic, and the noise of the A/A pair."""

from __future__ import annotations

import pytest

from benchmarks.figures import (
    Ratio,
    labels,
    largest,
    noise_text,
    pair_noise,
    pair_of,
    quantile,
    smallest,
    times_as_fast,
    times_as_many,
)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.9, 3.0), ([1.0, 2.0], 0.9, 1.9), ([4.0, 1.0, 3.0, 2.0, 5.0], 0.5, 3.0), ([1.0, 2.0, 3.0], 1.0, 3.0)],
)
def test_quantile_interpolates_between_neighbours(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == pytest.approx(expected)


def test_speed_is_of_the_best_rounds_with_the_extremes_within_one_round() -> None:
    assert times_as_fast([2.0, 40.0, 3.0], [1.0, 10.0, 1.0]) == Ratio(2.0, 2.0, 4.0)
    assert times_as_fast([8.0, 6.0], [2.0, 4.0]) == Ratio(3.0, 1.5, 4.0)


def test_rates_are_of_the_best_rounds_and_rounds_without_any_do_not_count() -> None:
    assert times_as_many([1.0, 2.5], [1.25, 1.0]) == Ratio(2.0, 0.8, 2.5)
    assert times_as_many([1.0, 2.0], [0.0, 1.0]) == Ratio(2.0, 2.0, 2.0)
    assert times_as_many([1.0], [0.0]) is None


def test_best_is_the_smallest_time_and_the_largest_rate() -> None:
    assert smallest([3.0, 2.0, 5.0]) == Ratio(2.0, 2.0, 5.0)
    assert largest([3.0, 2.0, 5.0]) == Ratio(5.0, 2.0, 5.0)
    assert [str(smallest([2.0])), str(largest([3.0, 2.0]))] == ["2", "3 (2 to 3)"]


def test_noise_is_that_of_the_middle_half_of_the_rounds() -> None:
    assert pair_noise([2.0, 3.0, 4.0], [2.0, 3.0, 4.0]) == 0
    assert pair_noise([0.5, 1.0, 1.0, 1.0, 1.5], [1.0] * 5) == 0
    assert pair_noise([0.8, 0.9, 1.0, 1.02, 1.5], [1.0] * 5) == pytest.approx(0.1)


def test_noise_is_of_rounds_that_both_have_figures_of() -> None:
    assert pair_noise([1.0, 0.0, 3.0], [1.0, 2.0, 0.0]) == 0
    assert pair_noise([0.0], [1.0]) is None


def test_noise_is_told_with_its_attempts_and_a_verdict() -> None:
    assert noise_text([]) == "not measured"
    assert noise_text([0.03]) == "within 3.0% of 1 in the middle half of the rounds"
    assert noise_text([0.12, 0.3]).endswith("rounds, after 2 attempts; **too noisy** (more than 10%)")


def test_pair_is_one_label_and_the_same_again() -> None:
    assert pair_of(["a", "b", "a (again)"]) == ("a", "a (again)")
    assert pair_of(["a", "b"]) is None
    assert [*labels("a", ["a", "b", "a"]), *labels("b", ["a", "b"])] == ["a", "a (again)", "b"]
