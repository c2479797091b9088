"""Comparing the tokens of two models, and telling a tie from a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

TIE_TOLERANCE = 1e-4


def strip_padding(ids: Sequence[int], pad_id: int) -> list[int]:
    """Token ids without the padding that batch generation appends."""
    length = next((length for length in range(len(ids), 0, -1) if ids[length - 1] != pad_id), 0)
    return list(ids[:length])


def tie_gap(
    log_probability: Callable[[Sequence[int]], float],
    first: Sequence[int],
    second: Sequence[int],
    penalty: float | None,
) -> float:
    """Distance between two replies by the score that chose between them.

    Beam search compares total log-probability divided by length ** length_penalty; the gap is given back in total
    log-probability (nats) of the longer reply. Greedy replies, without a penalty, are compared up to and with the first
    id that differs. `log_probability` gives the total (nats) of token ids after the first.
    """
    if penalty is None:
        pairs = enumerate(zip(first, second, strict=False), 1)
        if (length := next((place for place, (a, b) in pairs if a != b), 0)) == 0:
            return float("inf")
        first, second, penalty = first[:length], second[:length], 0.0
    scores = [log_probability(reply) / (len(reply) - 1) ** penalty for reply in (first, second)]
    return float(abs(scores[0] - scores[1]) * (max(len(first), len(second)) - 1) ** penalty)
