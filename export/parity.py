"""Comparing the tokens of two models, and telling a tie from a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

TIE_TOLERANCE = 1e-4


def strip_padding(ids: Sequence[int], pad_id: int) -> list[int]:
    """Token ids without the padding that batch generation appends."""
    length = next((length for length in range(len(ids), 0, -1) if ids[length - 1] != pad_id), 0)
    return list(ids[:length])


def log_probability(model: Any, source: Sequence[int], target: Sequence[int]) -> float:
    """Total log-probability (nats) that the torch `model` gives to a target after its first id, given `source`."""
    ids = torch.tensor([target])
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=ids[:, :-1]).logits
    return -float(torch.nn.functional.cross_entropy(logits[0].double(), ids[0, 1:], reduction="sum"))


def tie_gap(
    model: Any, source: Sequence[int], first: Sequence[int], second: Sequence[int], settings: Mapping[str, Any]
) -> float:
    """Distance between two replies by the score that chose between them.

    Beam search compares total log-probability divided by length ** length_penalty; the gap is given back in total
    log-probability (nats) of the longer reply. Greedy replies are compared up to and with the first id that differs.
    """
    penalty = settings.get("length_penalty", 1.0)
    if settings.get("num_beams", 1) == 1:
        differing = (place for place, (a, b) in enumerate(zip(first, second, strict=False), 1) if a != b)
        if (length := next(differing, 0)) == 0:
            return float("inf")
        first, second, penalty = first[:length], second[:length], 0.0
    scores = [log_probability(model, source, reply) / (len(reply) - 1) ** penalty for reply in (first, second)]
    return float(abs(scores[0] - scores[1]) * (max(len(first), len(second)) - 1) ** penalty)
