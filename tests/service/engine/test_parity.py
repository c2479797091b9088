"""Our beam search and our fused decoder beside `generate` of torch."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from export.parity import TIE_TOLERANCE
from tests.service.engine.comparison import Comparison, Difference, until_end
from tests.service.engine.parity_cases import CHOICES, Pair, draw_sources, run_cases
from tests.service.engine.trace import parting_gap, trace_engine, trace_transformers

CASES = 24


def test_an_fp32_export_says_what_torch_says_at_random_settings(pairs: list[Pair]) -> None:
    outcome = run_cases(CASES, seed=1, pairs=pairs)
    assert outcome.agrees, str(outcome)
    assert outcome.ties <= 1, str(outcome)
    assert outcome.share_ended_early >= 0.3, str(outcome)
    assert outcome.ragged >= outcome.batches / 3
    assert outcome.seen == {name: set(values) for name, values in CHOICES.items()}


def test_searches_that_weigh_the_same_candidates_are_traced_alike(pair: Pair) -> None:
    sources = draw_sources(random.Random(3), pair)
    for arguments in ({"num_beams": beams, "min_length": 0, "max_length": 12} for beams in (4, 1)):
        settings = pair.engine.settings.override(arguments)
        theirs = trace_transformers(pair.reference, sources, settings, arguments)
        for trace, reply in zip(theirs, trace_engine(pair.engine, sources, settings), strict=True):
            for mine, other in zip(trace.steps, reply.trace.steps, strict=False):
                assert (mine.running, mine.ended) == (other.running, other.ended)
                assert [other.weighed[ids] for ids in mine.running] == pytest.approx(
                    [mine.weighed[ids] for ids in mine.running], abs=1e-4
                )
            assert reply.trace.total(reply.result) == pytest.approx(trace.total(reply.result), abs=1e-4)


def test_a_token_that_one_search_forbids_is_no_tie(pair: Pair) -> None:
    settings = pair.engine.settings.override({"num_beams": 2, "min_length": 0, "max_length": 12})
    sources = [draw_sources(random.Random(seed), pair, 1)[0] for seed in range(6)]
    longer = replace(settings, min_length=11)
    replies = [trace_engine(pair.engine, [source], kind)[0] for kind in (longer, settings) for source in sources]
    differing = [
        (strict, free) for strict, free in zip(replies[:6], replies[6:], strict=True) if strict.result != free.result
    ]
    assert differing
    for strict, free in differing:
        assert parting_gap(strict.trace, free.trace, (strict.result, free.result)) == math.inf


def test_the_gap_is_that_of_the_hypotheses_on_which_two_searches_part(pair: Pair) -> None:
    settings = pair.engine.settings.override({"num_beams": 1, "max_length": 12})
    other = replace(settings, repetition_penalty=1.05)
    for seed in range(20):
        (source,) = draw_sources(random.Random(seed), pair, 1)
        first, second = (trace_engine(pair.engine, [source], kind)[0] for kind in (settings, other))
        if first.result != second.result:
            place = next(i for i, (a, b) in enumerate(zip(first.result, second.result, strict=False)) if a != b)
            weighed = first.trace.steps[place - 1].weighed
            chosen = (weighed.get(tuple(reply.result[: place + 1]), -math.inf) for reply in (first, second))
            expected = abs(next(chosen) - next(chosen))
            assert parting_gap(first.trace, second.trace, (first.result, second.result)) == pytest.approx(expected)
            return
    raise AssertionError("the penalty changed no reply")


def test_a_difference_below_the_tolerance_counts_as_a_tie_and_one_above_does_not(pair: Pair) -> None:
    near, far = (
        Difference((5, 2), pair.engine.settings, (1, 2), (1, 3), gap) for gap in (TIE_TOLERANCE / 2, TIE_TOLERANCE * 2)
    )
    assert Comparison(3, [near]).agrees
    assert Comparison(3, [near]).ties == 1
    assert not Comparison(3, [near, far]).agrees


def test_what_follows_the_end_token_is_no_part_of_a_reply() -> None:
    assert until_end([2, 5, 2, 2, 0], end=2) == (2, 5, 2)
    assert until_end([1, 5, 6], end=2) == (1, 5, 6)
