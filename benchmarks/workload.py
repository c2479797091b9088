"""What every backend is asked to do: the same token ids, the same number of new tokens."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WARM_UP_ROUNDS = 1


@dataclass(frozen=True)
class Workload:
    """One latency run.

    Attributes:
        beams: beam widths, measured one after the other; 1 is greedy search.
        new_tokens: tokens to generate per reply, `</s>` included and the decoder's start token not.
        source_tokens: length of each source, `</s>` included.
        rounds: replies per beam width and backend; each has a source of its own, the same for all backends.
        threads: threads of each backend.
        seed: of the sources.
    """

    beams: tuple[int, ...]
    new_tokens: int
    source_tokens: int
    rounds: int
    threads: int
    seed: int = 0


@dataclass(frozen=True)
class Vocabulary:
    """The ids a source is made of.

    Attributes:
        size: ids run from 0 to `size - 1`.
        special_ids: never drawn.
        eos_id: ends every source.
    """

    size: int
    special_ids: frozenset[int]
    eos_id: int


def source(workload: Workload, vocabulary: Vocabulary, round_number: int) -> list[int]:
    """Ids of the source of one round: `source_tokens - 1` ordinary ids drawn evenly, then `</s>`."""
    ordinary = [token for token in range(vocabulary.size) if token not in vocabulary.special_ids]
    drawn = random.Random(f"{workload.seed}/{round_number}").choices(ordinary, k=workload.source_tokens - 1)
    return [*drawn, vocabulary.eos_id]


def broken_ban(ids: list[int], reply: list[int], decoding: Mapping[str, Any]) -> str | None:
    """The n-gram ban of `decoding` that a reply does not keep; None when it keeps them all.

    Args:
        ids: the source.
        reply: ids without the start token; the last is not looked at, since it may have been forced.
        decoding: settings by the names of transformers; an absent ban is no ban.
    """
    free = reply[:-1]
    size = decoding.get("no_repeat_ngram_size", 0)
    said = _ngrams(free, size)
    if len(said) != len(set(said)):
        return "no_repeat_ngram_size"
    size = decoding.get("encoder_no_repeat_ngram_size", 0)
    if set(_ngrams(free, size)).intersection(_ngrams(ids, size)):
        return "encoder_no_repeat_ngram_size"
    return None


def _ngrams(ids: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)] if size else []
