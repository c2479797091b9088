"""Replies of an fp32 export beside those of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from export.parity import TIE_TOLERANCE, strip_padding, tie_gap
from tests.parity import Difference, Parity, compare, log_probability

PROMPTS = (
    "Hi",
    "ok?",
    "What is your name?",
    "I have two cats and a dog.",
    "Ünïcödé, 中文 and 🙂",
    "It rained all day, so I stayed at home and read.",
    "My brother plays the trumpet in a band that nobody has heard of.",
    "no no no no no no no no",
    "Do you like to cook?   I do, most of all soup.   What kind of soup?",
    "a" * 60,
    "The train was late. " * 4,
    "one two three four five six seven eight nine ten " * 8,
)
SOURCE = [1, 7, 9, 2]


@pytest.mark.parametrize("beams", [10, 1])
def test_an_fp32_export_says_what_torch_says(tiny_checkpoint: Path, tiny_fp32_export: Path, beams: int) -> None:
    parity = compare(tiny_checkpoint, tiny_fp32_export, PROMPTS, beams=beams)
    assert parity.agrees, str(parity)
    assert parity.replies == len(PROMPTS)
    assert parity.ties <= 1, str(parity)


def test_the_comparison_notices_another_model(tiny_export: Path, other_checkpoint: Path) -> None:
    parity = compare(other_checkpoint, tiny_export, PROMPTS[:3], beams=1)
    assert not parity.agrees
    assert parity.equal == parity.ties == 0


def test_a_difference_below_the_tolerance_counts_as_a_tie_and_one_above_does_not() -> None:
    near, far = (Difference("Hi", (1, 2), (1, 3), gap) for gap in (TIE_TOLERANCE / 2, TIE_TOLERANCE * 2))
    assert Parity(3, (near,)).agrees
    assert Parity(3, (near,)).ties == 1
    assert not Parity(3, (near, far)).agrees


def test_greedy_replies_are_told_apart_by_the_first_token_that_differs(tiny_checkpoint: Path) -> None:
    scored = _torch(tiny_checkpoint)
    first, second = [1, 20, 30, 40, 2], [1, 20, 31, 50, 60, 2]
    one, other = scored([1, 20, 30]), scored([1, 20, 31])
    assert tie_gap(scored, first, second, None) == pytest.approx(abs(one - other), abs=1e-5)


def test_beam_replies_are_told_apart_by_their_scores_with_length_penalty(tiny_checkpoint: Path) -> None:
    scored = _torch(tiny_checkpoint)
    first, second = [1, 20, 30, 2], [1, 20, 31, 50, 60, 2]
    scores = [scored(ids) / (len(ids) - 1) ** 0.65 for ids in (first, second)]
    gap = tie_gap(scored, first, second, 0.65)
    assert gap == pytest.approx(abs(scores[0] - scores[1]) * 5**0.65)


def test_a_reply_that_is_cut_short_is_no_tie(tiny_checkpoint: Path) -> None:
    assert tie_gap(_torch(tiny_checkpoint), [1, 20], [1, 20, 30], None) == float("inf")


def test_only_trailing_padding_is_stripped() -> None:
    assert strip_padding([1, 0, 5, 2, 0, 0], pad_id=0) == [1, 0, 5, 2]
    assert strip_padding([0, 0], pad_id=0) == []


def _torch(checkpoint: Path) -> Callable[[Sequence[int]], float]:
    """The log-probability that torch gives to replies to `SOURCE`."""
    from transformers import BlenderbotForConditionalGeneration

    return partial(
        log_probability, BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval(), SOURCE
    )
