from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.runs import BackendRun
from benchmarks.summary import Agreement, Spread, agreement, noise, pair_noise, quantile, speed_up


def backend(seconds: list[float], replies: list[list[int]] | None = None) -> BackendRun:
    return BackendRun("any", 0.0, 0.0, 0, seconds=seconds, replies=replies or [])


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.9, 3.0), ([1.0, 2.0], 0.9, 1.9), ([4.0, 1.0, 3.0, 2.0, 5.0], 0.5, 3.0), ([1.0, 2.0, 3.0], 1.0, 3.0)],
)
def test_quantile_interpolates_between_neighbours(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == pytest.approx(expected)


def test_speed_up_is_taken_within_each_round() -> None:
    slow_middle = backend([2.0, 40.0, 3.0]), backend([1.0, 10.0, 1.0])
    assert speed_up(*slow_middle) == Spread(median=3.0, least=2.0, greatest=4.0)


def test_agreement_counts_equal_replies_and_shared_beginnings() -> None:
    first = backend([], [[1, 2, 3], [1, 2, 3], [4, 5, 6]])
    second = backend([], [[1, 2, 3], [1, 9, 3], [9, 5, 6]])
    assert agreement(first, second) == Agreement(equal=1, replies=3, shared_tokens=1)
    assert agreement(first, first) == Agreement(equal=3, replies=3, shared_tokens=3)


def test_noise_is_that_of_the_middle_half_of_the_rounds() -> None:
    assert noise([1.0, 1.0, 1.0]) == 0
    assert noise([0.5, 1.0, 1.0, 1.0, 1.5]) == 0
    assert noise([0.8, 0.9, 1.0, 1.02, 1.5]) == pytest.approx(0.1)


def test_noise_of_a_run_is_that_of_the_pair_of_one_name() -> None:
    runs = [replace(backend([2.0, 2.0]), label=label) for label in ("a", "b", "a (again)")]
    runs[2].seconds = [1.0, 1.0]
    assert pair_noise(runs, {"a": "a", "b": "b", "a (again)": "a"}) == pytest.approx(1)
    assert pair_noise(runs[:2], {"a": "a", "b": "b"}) is None
