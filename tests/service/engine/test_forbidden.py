"""No search writes what it must not, whatever the model wants to say, and each still gives a reply."""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Sequence as Ids
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from service.chat.phrases import Phrases
from service.chat.vocabulary import ForbiddenPhrases, pieces
from service.engine.forbidden import FORBIDDEN, Moves
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings

SIZE = 300
END = 2
LISTED = ["hell", "go to bed", "the", "a", "don't", "on", "in it", "s", "end", "x y", "café"]
BASE = DecodingSettings(min_length=8, max_length=24, no_repeat_ngram_size=3, encoder_no_repeat_ngram_size=3)
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam 2": {"num_beams": 2},
    "beam 10": {"num_beams": 10},
    "sampling": {"do_sample": True, "seed": 1, "top_k": 0},
    "narrow sampling": {"do_sample": True, "seed": 1, "top_k": 5, "top_p": 0.8, "temperature": 0.7},
}

Scores = np.ndarray[Any, np.dtype[np.float32]]
Model = Callable[[Ids[int]], Scores]


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    return Phrases(LISTED)


@pytest.fixture(scope="module")
def forbidden(tokenizer: PreTrainedTokenizerFast, phrases: Phrases) -> ForbiddenPhrases:
    return ForbiddenPhrases(phrases, pieces(tokenizer, SIZE), end=END)


def write(sequence: Sequence, model: Model, watch: Callable[[list[int]], None] = lambda _: None) -> list[int]:
    """Let a search write a reply with a model; `watch` sees what is shown of it after each step."""
    search = sequence.search
    for _ in range(sequence.settings.max_length):
        scores = np.stack([model(row.tolist()) for row in search.tokens])
        rows = len(search.tokens)
        parents = search.advance(np.log(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)))
        assert parents.max() < rows
        watch(sequence.settled)
        if search.finished:
            return sequence.result
        assert len(parents) == len(search.tokens)
    raise AssertionError("the reply does not end")


def eager(tokenizer: PreTrainedTokenizerFast, seed: int) -> Model:
    """A model that wants to say what is listed, one thing after the other."""
    draw = random.Random(seed)
    said = [1, *(token for _ in range(12) for token in tokenizer(draw.choice(LISTED)).input_ids[:-1])]
    noise = np.random.default_rng(seed)

    def score(ids: Ids[int]) -> Scores:
        scores = noise.normal(size=SIZE).astype(np.float32)
        scores[said[len(ids)] if len(ids) < len(said) else END] += 6.0
        scores[draw.choice([END, *range(5, SIZE)])] += 3.0
        return scores

    return score


def text_of(tokenizer: PreTrainedTokenizerFast, ids: Ids[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forced", [END, None])
def test_no_reply_holds_what_is_listed_and_no_part_that_is_shown_does(
    tokenizer: PreTrainedTokenizerFast, phrases: Phrases, forbidden: ForbiddenPhrases, kind: str, forced: int | None
) -> None:
    settings = replace(BASE, forced_eos_token_id=forced, **KINDS[kind])
    wanted = 0
    for seed in range(25):
        shown: list[list[int]] = [[]]

        def watch(ids: list[int], shown: list[list[int]] = shown) -> None:
            assert ids[: len(shown[-1])] == shown[-1], "something is taken back"
            assert not phrases.holds(text_of(tokenizer, ids)), text_of(tokenizer, ids)
            shown.append(list(ids))

        result = write(Sequence([9, 10, END], settings, forbidden), eager(tokenizer, seed), watch)
        assert not phrases.holds(text_of(tokenizer, result)), text_of(tokenizer, result)
        assert shown[-1] == result
        assert len(result) <= settings.max_length
        assert len(result) >= settings.min_length
        free = write(Sequence([9, 10, END], settings), eager(tokenizer, seed))
        wanted += phrases.holds(text_of(tokenizer, free))
    assert wanted > 10, "the model does not want to say what is listed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_what_is_never_wanted_changes_no_token(tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    forbidden = ForbiddenPhrases(Phrases(["zzyzx qqq"]), pieces(tokenizer, SIZE), end=END)
    settings = replace(BASE, forced_eos_token_id=END, **KINDS[kind])
    for seed in range(10):
        assert write(Sequence([9, END], settings, forbidden), eager(tokenizer, seed)) == write(
            Sequence([9, END], settings), eager(tokenizer, seed)
        )


def saying(tokenizer: PreTrainedTokenizerFast, *texts: str) -> Model:
    """A model that knows some texts, the likeliest first, and goes on with those that begin as what it reads."""
    known = [[1, *tokenizer(text, add_special_tokens=False).input_ids, END] for text in texts]

    def score(ids: Ids[int]) -> Scores:
        scores = np.full(SIZE, -9.0, np.float32)
        for place, text in enumerate(reversed(known)):
            if text[: len(ids)] == list(ids) and len(ids) < len(text):
                scores[text[len(ids)]] = 3.0 * (1 + place)
        return scores

    return score


@pytest.mark.parametrize("kind", ["greedy", "beam 2", "beam 10"])
@pytest.mark.parametrize(
    ("listed", "texts", "expected"),
    [
        # The word is not made another one by force, since the model has another reply.
        (["hell"], ["send hell now", "send help now"], "send help now"),
        (["hell"], ["send hell", "send help"], "send help"),
        # A word that only begins like it is said.
        (["hell"], ["say hello now", "say hi now"], "say hello now"),
        (["don"], ["I don't know", "I do not know"], "I don't know"),
        (["go to bed"], ["go to bedrock", "go home"], "go to bedrock"),
        (["go to bed"], ["go to bed, now", "go to bet, now"], "go to bet, now"),
    ],
)
def test_the_reply_is_the_likeliest_that_is_allowed(
    tokenizer: PreTrainedTokenizerFast, kind: str, listed: list[str], texts: list[str], expected: str
) -> None:
    forbidden = ForbiddenPhrases(Phrases(listed), pieces(tokenizer, SIZE), end=END)
    settings = DecodingSettings(max_length=60, **KINDS[kind])
    result = write(Sequence([9, END], settings, forbidden), saying(tokenizer, *texts))
    assert text_of(tokenizer, result).strip() == expected


class Wall:
    """After some tokens nothing may follow; it may end after fewer."""

    start = 1

    def __init__(self, length: int, shown: int) -> None:
        self._length = length
        self._shown = shown

    def moves(self, state: int) -> Moves:
        free = state < self._length
        after = np.full(SIZE, state + 1 if free else FORBIDDEN, np.int32)
        after[END] = FORBIDDEN
        banned = np.array([END]) if free else np.arange(SIZE)
        return Moves(after, banned, np.full(SIZE, not free or state + 1 > self._shown))

    def may_end(self, state: int) -> bool:
        return state <= self._shown


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_token_may_follow_the_reply_ends_with_what_may_be_shown(
    tokenizer: PreTrainedTokenizerFast, kind: str
) -> None:
    settings = replace(BASE, **KINDS[kind])
    for length, shown in ((9, 9), (9, 5), (2, 1), (1, 1)):
        seen: list[list[int]] = []
        result = write(Sequence([9, END], settings, Wall(length, shown)), eager(tokenizer, 1), seen.append)
        assert result[-1] == END
        assert result[0] == 1 or len(result) == 1
        assert len(result) == min(shown, length)
        assert all(result[: len(part)] == part for part in seen)
