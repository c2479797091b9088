"""The one statistic: a noisy machine can only make times longer and rates smaller, so the best rounds count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

AGAIN = " (again)"
# Differences of the A/A pair beyond which figures are too noisy to be compared.
MAX_NOISE = 0.10


@dataclass(frozen=True)
class Ratio:
    """The ratio of the best rounds of both sides, or one figure; with the extremes of single rounds."""

    best: float
    low: float
    high: float

    def __str__(self) -> str:
        span = f" ({self.low:.4g} to {self.high:.4g})" if f"{self.low:.4g}" != f"{self.high:.4g}" else ""
        return f"{self.best:.4g}{span}"


def times_as_fast(slower_s: Sequence[float], faster_s: Sequence[float]) -> Ratio:
    """How many times as fast the second is, of seconds of the same rounds."""
    rounds = [slower / faster for slower, faster in zip(slower_s, faster_s, strict=True)]
    return Ratio(min(slower_s) / min(faster_s), min(rounds), max(rounds))


def times_as_many(more: Sequence[float], fewer: Sequence[float]) -> Ratio | None:
    """How many times as large the first is, of rates of the same rounds; None where the second has none."""
    rounds = [a / b for a, b in zip(more, fewer, strict=True) if b]
    return Ratio(max(more) / max(fewer), min(rounds), max(rounds)) if rounds else None


def smallest(values: Sequence[float]) -> Ratio:
    """The best of values that a noisy machine can only make larger."""
    return Ratio(min(values), min(values), max(values))


def largest(values: Sequence[float]) -> Ratio:
    """The best of values that a noisy machine can only make smaller; of memory, what it takes at most."""
    return Ratio(max(values), min(values), max(values))


def pair_noise(first: Sequence[float], second: Sequence[float]) -> float | None:
    """How far the figures of one and the same thing differ, in rounds that both have one: how far the ratios are from 1
    at most, in the middle half of them; None without such a round."""
    ratios = [a / b for a, b in zip(first, second, strict=True) if a and b]
    return max(abs((quantile(ratios, share) or 0) - 1) for share in (0.25, 0.75)) if ratios else None


def noise_text(attempts: Sequence[float]) -> str:
    """The noise of the rounds that are kept, the first of all attempts, in words."""
    if not attempts:
        return "not measured"
    repeats = f", after {len(attempts)} attempts" if len(attempts) > 1 else ""
    verdict = f"; **too noisy** (more than {MAX_NOISE:.0%})" if attempts[0] > MAX_NOISE else ""
    return f"within {attempts[0]:.1%} of 1 in the middle half of the rounds{repeats}{verdict}"


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the values lie below, interpolated between neighbours; None without a value."""
    return float(np.quantile(values, share)) if values else None


def labels(name: str, names: Sequence[str]) -> Sequence[str]:
    """What those of a name are called in a run of all these names: two are an A/A pair."""
    return (name, name + AGAIN)[: names.count(name)]


def pair_of(labels: Sequence[str]) -> tuple[str, str] | None:
    """The first label that comes again: the A/A pair."""
    return next((pair for pair in combinations(labels, 2) if pair[1] == pair[0] + AGAIN), None)
