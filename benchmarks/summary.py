"""Statistics of the raw values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from benchmarks.runs import BackendRun

# Differences of the A/A pair beyond which figures are too noisy to be compared.
MOST_NOISE = 0.10


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some values."""

    median: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Agreement:
    """How far two backends said the same.

    Attributes:
        equal: replies that are the same token for token.
        replies: replies compared.
        shared_tokens: median number of tokens before the first difference (all of them in equal replies).
    """

    equal: int
    replies: int
    shared_tokens: float


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values lie below, with linear interpolation between neighbours."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below, above = math.floor(position), math.ceil(position)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


def speed_up(reference: BackendRun, other: BackendRun) -> Spread:
    """How many times faster `other` is: ratios within each round, so that slow moments of the machine cancel."""
    return spread([a / b for a, b in zip(reference.seconds, other.seconds, strict=True)])


def noise(ratios: Sequence[float]) -> float:
    """How far the ratios of one and the same thing are from 1: at most this far in the middle half of them."""
    return max(abs(quantile(ratios, share) - 1) for share in (0.25, 0.75))


def pair_noise(runs: Sequence[BackendRun], names: Mapping[str, str]) -> float | None:
    """Of the A/A pair, the first two runs of the same name; None without one."""
    pair = next(((a, b) for a, b in combinations(runs, 2) if names[a.label] == names[b.label]), None)
    return None if pair is None else noise([a / b for a, b in zip(pair[0].seconds, pair[1].seconds, strict=True)])


def agreement(first: BackendRun, second: BackendRun) -> Agreement:
    """Compare the replies of two backends, round by round."""
    shared = [_shared_prefix(a, b) for a, b in zip(first.replies, second.replies, strict=True)]
    equal = sum(a == b for a, b in zip(first.replies, second.replies, strict=True))
    return Agreement(equal, len(shared), median(shared))


def _shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
