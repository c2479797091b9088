"""Statistics of the raw values of a load run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import Run, ServerRuns
from benchmarks.summary import Spread, quantile, spread


@dataclass(frozen=True)
class Percentiles:
    """Of some values, with linear interpolation between neighbours."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class Figures:
    """One server under one load.

    Attributes:
        replies_per_s: replies that were as they should be, over the rounds.
        replies: their number, in all rounds together.
        latency_s: of these replies, of all rounds together; None without any.
        first_text_s: likewise, of those that came as a stream.
        errors: how many requests failed, by kind, in all rounds together.
        examples: the first failure of each kind in words.
    """

    replies_per_s: Spread
    replies: int
    latency_s: Percentiles | None
    first_text_s: Percentiles | None
    errors: Counter[str]
    examples: dict[str, str]


@dataclass(frozen=True)
class Ratio:
    """One server beside another, or beside itself under another load, within each round.

    Attributes:
        replies_per_s: how many times as many replies a second; None where one of them had none in every round.
        latency: how many times as long the median reply took; None likewise.
    """

    replies_per_s: Spread | None
    latency: Spread | None


def figures(server: ServerRuns) -> Figures:
    """Sum up all rounds of a server under one load."""
    replies = [exchange for run in server.runs for exchange in run.replies]
    failures = [exchange for run in server.runs for exchange in run.exchanges if exchange.error]
    first_texts = [exchange.first_text_s for exchange in replies if exchange.first_text_s is not None]
    return Figures(
        replies_per_s=spread([run.replies_per_s for run in server.runs]),
        replies=len(replies),
        latency_s=_percentiles([exchange.seconds for exchange in replies]),
        first_text_s=_percentiles(first_texts),
        errors=Counter(exchange.error for exchange in failures),
        examples={exchange.error: exchange.detail for exchange in reversed(failures)},
    )


def ratio(first: ServerRuns, second: ServerRuns) -> Ratio:
    """How `first` does beside `second`, round by round, so that slow moments of the machine cancel."""
    pairs = [(a, b) for a, b in zip(first.runs, second.runs, strict=True) if a.replies and b.replies]
    if not pairs:
        return Ratio(None, None)
    return Ratio(
        spread([a.replies_per_s / b.replies_per_s for a, b in pairs]),
        spread([_median_s(a) / _median_s(b) for a, b in pairs]),
    )


def _median_s(run: Run) -> float:
    return median(exchange.seconds for exchange in run.replies)


def _percentiles(values: Sequence[float]) -> Percentiles | None:
    if not values:
        return None
    return Percentiles(*(quantile(values, share) for share in (0.5, 0.9, 0.99, 1.0)))
