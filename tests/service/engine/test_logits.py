"""Bans and penalties beside the processors of transformers, in the order in which `generate` puts them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, GenerationMixin, LogitsProcessorList

from service.engine.logits import restrict
from service.engine.settings import DecodingSettings

VOCABULARY, DRAWN, END = 9, 4, 2
CHOICES: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1.0, 1.3, 0.8),
    "no_repeat_ngram_size": (0, 1, 2, 3, 4),
    "encoder_no_repeat_ngram_size": (0, 1, 2, 3, 4),
    "min_length": (0, 3, 8),
    "max_length": (5, 10, 14),
    "forced_eos_token_id": (None, END, 5),
}
OFF = {name: values[0] for name, values in CHOICES.items()} | {"max_length": 14}


def processors(source: np.ndarray[Any, Any], settings: dict[str, Any]) -> LogitsProcessorList:
    """Those that `generate` would apply to a request."""
    config = GenerationConfig(**settings)
    config._eos_token_tensor = torch.tensor([END])
    return GenerationMixin()._get_logits_processor(
        config, input_ids_seq_length=1, encoder_input_ids=torch.tensor(source)[None], device="cpu"
    )


def compare(seed: int, settings: dict[str, Any]) -> bool:
    """Whether the settings changed random scores; they must have changed them as in transformers."""
    random_numbers = np.random.default_rng(seed)
    rows, length = random_numbers.integers(1, 5), random_numbers.integers(1, settings["max_length"])
    tokens = random_numbers.integers(0, DRAWN, (rows, length))
    source = random_numbers.integers(0, DRAWN, random_numbers.integers(1, 12))
    scores = random_numbers.normal(size=(rows, VOCABULARY)).astype(np.float32)
    expected = processors(source, settings)(torch.tensor(tokens), torch.tensor(scores)).numpy()
    found = scores.copy()
    restrict(found, tokens, source, DecodingSettings(**settings))
    assert np.array_equal(found, expected), settings
    return not np.array_equal(found, scores)


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "max_length"])
def test_each_ban_and_penalty_is_that_of_transformers(name: str) -> None:
    lengths = CHOICES["max_length"]
    for value in CHOICES[name][1:]:
        changed = [compare(seed, OFF | {name: value, "max_length": lengths[seed % 3]}) for seed in range(40)]
        assert any(changed)


def test_together_they_apply_in_the_order_of_transformers() -> None:
    draw = random.Random(1)
    for seed in range(300):
        compare(seed, {name: draw.choice(values) for name, values in CHOICES.items()})


def test_without_any_the_scores_stay_as_they_are() -> None:
    assert not any(compare(seed, OFF) for seed in range(20))
