"""Teacher-forced scores of replies: perplexity and top-1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.demo.batches import IGNORED, collate
from models.demo.conversations import Sample

BATCH = 32


@dataclass(frozen=True)
class Score:
    """Over all reply tokens, `</s>` included: perplexity, and the share that the model ranks first."""

    perplexity: float
    top1: float
    tokens: int


@torch.no_grad()
def score(model: Any, samples: Sequence[Sample], pad: int, start: int) -> Score:
    """Scores `model` (PyTorch in evaluation mode, or ONNX) on `samples`."""
    loss, right, tokens = 0.0, 0, 0
    ordered = sorted(samples, key=lambda s: len(s.input_ids))
    for i in range(0, len(ordered), BATCH):
        batch = collate(ordered[i : i + BATCH], pad, start)
        labels = batch.pop("labels")
        logits = model(**batch).logits.float()
        asked = labels != IGNORED
        loss += torch.nn.functional.cross_entropy(logits[asked], labels[asked], reduction="sum").item()
        right += int((logits.argmax(-1) == labels)[asked].sum())
        tokens += int(asked.sum())
    return Score(math.exp(loss / tokens), right / tokens, tokens)
