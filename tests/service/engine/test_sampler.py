"""Greedy choice and sampling with one row."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from service.engine.logits import restrict
from service.engine.sampler import Sampler, warp
from service.engine.settings import DecodingSettings
from tests.service.engine.parity_cases import Pair
from tests.service.engine.test_logits import processors

SOURCE = np.array([5, 6, 7, 5, 6, 2])
IDS = torch.tensor([SOURCE.tolist()])
VOCABULARY = 30
DRAWS = 3000
WARPERS: dict[str, tuple[Any, ...]] = {
    "temperature": (1.0, 0.3, 2.5),
    "top_k": (0, 1, 7, 50),
    "top_p": (1.0, 0.9, 0.4, 0.01),
}


def scores_of(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(1, VOCABULARY), scale=2.0).astype(np.float32)


@pytest.mark.parametrize("values", list(itertools.product(*WARPERS.values())))
def test_the_distribution_is_that_of_transformers(values: tuple[Any, ...]) -> None:
    changes = {"do_sample": True, "no_repeat_ngram_size": 2, "min_length": 5} | dict(zip(WARPERS, values, strict=True))
    settings = DecodingSettings(**changes)
    tokens = Sampler(SOURCE, settings).tokens
    for seed in range(5):
        scores = scores_of(seed)
        expected = processors(SOURCE, changes)(torch.tensor(tokens), torch.tensor(scores)).double()
        restrict(scores, tokens, SOURCE, settings)
        warped = torch.tensor(warp(scores[0], settings))
        assert torch.equal(warped.isneginf(), expected[0].isneginf())
        assert torch.softmax(warped, -1).numpy() == pytest.approx(torch.softmax(expected, -1)[0].numpy(), rel=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    counts: Counter[int] = Counter()
    for seed in range(DRAWS):
        sampler = Sampler(SOURCE, DecodingSettings(do_sample=True, top_k=5, seed=seed))
        sampler.advance(scores_of(0))
        counts[sampler.result[-1]] += 1
    likeliest = np.argsort(-scores_of(0)[0])[:5]
    weights = np.exp(scores_of(0)[0, likeliest].astype(np.float64))
    assert set(counts) == set(likeliest.tolist())
    shares = [counts[token] / DRAWS for token in likeliest.tolist()]
    assert shares == pytest.approx(list(weights / weights.sum()), abs=0.04)


def test_a_seed_draws_the_same_token_when_the_scores_are_rounded_otherwise() -> None:
    noise = np.random.default_rng(1)
    same = 0
    for seed in range(200):
        scores = np.random.default_rng(seed).normal(size=(1, 2000)).astype(np.float32)
        other = scores + noise.normal(size=scores.shape, scale=1e-3).astype(np.float32)
        drawn = []
        for these in (scores, other):
            sampler = Sampler(SOURCE, DecodingSettings(do_sample=True, top_k=0, seed=seed))
            sampler.advance(these)
            drawn.append(sampler.result[-1])
        same += drawn[0] == drawn[1]
    assert same >= 198


def test_greedy_choice_takes_the_likeliest_token_that_is_allowed() -> None:
    sampler = Sampler(SOURCE, DecodingSettings(min_length=5))
    scores = np.zeros((1, VOCABULARY), np.float32)
    scores[0, [2, 9]] = 8.0, 7.0
    sampler.advance(scores)
    assert sampler.result == [1, 9]
    assert not sampler.finished


def test_the_same_seed_gives_the_same_reply_and_another_seed_another(pair: Pair) -> None:
    first, again, other = (
        pair.engine.generate(IDS, do_sample=True, num_beams=1, temperature=3.0, seed=seed).tolist()
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_without_a_seed_every_reply_is_drawn_afresh(pair: Pair) -> None:
    replies = [
        pair.engine.generate(IDS, do_sample=True, num_beams=1, temperature=3.0, top_k=0).tolist() for _ in range(3)
    ]
    assert replies[0] != replies[1] or replies[1] != replies[2]


def test_bans_hold_while_sampling(pair: Pair) -> None:
    bans: dict[str, Any] = {
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 1,
        "min_length": 20,
        "max_length": 30,
    }
    for seed in range(10):
        (reply,) = pair.engine.generate(IDS, do_sample=True, num_beams=1, top_k=4, seed=seed, **bans).tolist()
        pairs = list(itertools.pairwise(reply))
        assert len(set(pairs)) == len(pairs)
        assert not set(reply[1:-1]) & {5, 6, 7}
        assert 20 <= len(reply) <= 30
        assert reply[-1] == 2
