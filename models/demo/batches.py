"""Samples to tensors: pools of samples sorted by length, cut into batches and shuffled."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

import torch
from torch import Tensor

from models.demo.conversations import Sample

IGNORED = -100


def collate(samples: Sequence[Sample], pad: int, start: int) -> dict[str, Tensor]:
    """Tensors for one training step, all int64.

    Returns:
        input_ids and attention_mask [batch, input length], decoder_input_ids and labels [batch, reply length];
        labels hold -100 where padded.
    """
    longest = max(len(s.input_ids) for s in samples)
    reply = max(len(s.labels) for s in samples)
    return {
        "input_ids": torch.tensor([[*s.input_ids, *[pad] * (longest - len(s.input_ids))] for s in samples]),
        "attention_mask": torch.tensor(
            [[*[1] * len(s.input_ids), *[0] * (longest - len(s.input_ids))] for s in samples]
        ),
        "decoder_input_ids": torch.tensor([[start, *s.labels[:-1], *[pad] * (reply - len(s.labels))] for s in samples]),
        "labels": torch.tensor([[*s.labels, *[IGNORED] * (reply - len(s.labels))] for s in samples]),
    }


def marks(rows: Sequence[Sequence[bool]]) -> Tensor:
    """The rows of a batch, [rows, length], false where padded."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[False] * (longest - len(row))] for row in rows])


def bucketed(samples: Iterator[Sample], size: int, pool: int, seed: int) -> Iterator[list[Sample]]:
    """Batches of `size` samples of like length, from pools of `pool` samples."""
    random = Random(seed)
    while drawn := list(islice(samples, pool)):
        drawn.sort(key=lambda s: len(s.input_ids) + len(s.labels) + random.random() * 4)
        batches = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        random.shuffle(batches)
        yield from batches
