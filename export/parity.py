"""Comparing the tokens of two models, and telling a tie from a difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BlenderbotForConditionalGeneration

TIE_TOLERANCE = 1e-4


def strip_padding(ids: Sequence[int], pad_id: int) -> list[int]:
    """Token ids without the padding that batch generation appends."""
    kept = list(ids)
    while kept and kept[-1] == pad_id:
        kept.pop()
    return kept


def log_probabilities(
    model: BlenderbotForConditionalGeneration, source: Sequence[int], targets: Sequence[Sequence[int]]
) -> list[float]:
    """Total log-probability (nats) that the torch `model` gives to each target after its first id, given `source`."""
    import torch

    with torch.inference_mode():
        rows = [torch.tensor(list(target)) for target in targets]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        sources = torch.tensor([list(source)] * len(rows))
        logits = model(input_ids=sources, decoder_input_ids=ids[:, :-1]).logits
        chosen = torch.log_softmax(logits.double(), dim=-1).gather(2, ids[:, 1:, None])[:, :, 0]
    return [float(chosen[number, : len(row) - 1].sum()) for number, row in enumerate(rows)]


def tie_gap(
    model: BlenderbotForConditionalGeneration,
    source: Sequence[int],
    first: Sequence[int],
    second: Sequence[int],
    settings: dict[str, Any],
) -> float:
    """Distance between two replies by the score that chose between them.

    Beam search compares total log-probability divided by length ** length_penalty; the gap is given back in total
    log-probability (nats) of the longer reply. Greedy replies are compared up to and with the first id that differs.
    """
    greedy = settings.get("num_beams", 1) == 1
    if greedy:
        same = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
        if same is None:
            return float("inf")
        first, second = first[: same + 1], second[: same + 1]
    penalty = 0.0 if greedy else settings.get("length_penalty", 1.0)
    lengths = [len(first) - 1, len(second) - 1]
    totals = log_probabilities(model, source, [first, second])
    scores = [total / length**penalty for total, length in zip(totals, lengths, strict=True)]
    return float(abs(scores[0] - scores[1]) * max(lengths) ** penalty)
