"""A reply does not depend on who shares the batch."""

from __future__ import annotations

import random
from dataclasses import replace

from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.service.engine.neighbours import compare_alone_and_among
from tests.service.engine.parity_cases import Pair, draw_sources

REQUESTS = 60
# What rounding activations to 8 bits can move a total score by, in nats.
INT8_NOISE = 0.2


def _sources(pair: Pair, count: int) -> list[tuple[int, ...]]:
    return [draw_sources(random.Random(seed), pair, 1)[0] for seed in range(count)]


def test_a_reply_is_the_same_alone_and_among_any_neighbours(pairs: list[Pair]) -> None:
    for number, pair in enumerate(pairs):
        settings = replace(pair.engine.settings, min_length=3, max_length=24)
        outcome = compare_alone_and_among(pair.engine, _sources(pair, REQUESTS), number, settings)
        assert outcome.agrees, str(outcome)
        assert outcome.ties <= 1, str(outcome)
        assert outcome.removed >= 3
        assert outcome.most_together >= 5
        assert outcome.steps > pair.engine.window + 32, "too few for slots to be moved"


def test_an_int8_reply_is_the_same_alone_and_among_any_neighbours(
    pair: Pair, int8_engine: ORTBlenderbotForConditionalGeneration
) -> None:
    settings = replace(int8_engine.settings, min_length=3, max_length=24)
    outcome = compare_alone_and_among(int8_engine, _sources(pair, REQUESTS), 7, settings)
    assert outcome.equal >= 0.9 * REQUESTS, str(outcome)
    assert outcome.largest_gap < INT8_NOISE, str(outcome)
