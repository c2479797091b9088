"""Whole models on our own kernels and on ONNX Runtime's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.engine.chat_model import load
from service.engine.network import StepBinding
from service.engine.sequence import Sequence
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.service.engine.neighbours import compare_alone_and_among
from tests.service.engine.parity_cases import Pair, draw_sources, run_cases

REQUESTS = 40


def model(folder: Path, kernels: str, threads: int = 1) -> ORTBlenderbotForConditionalGeneration:
    return ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=threads, kernels=kernels)


def replies(engine: ORTBlenderbotForConditionalGeneration, sources: list[tuple[int, ...]]) -> list[list[int]]:
    return [engine.generate(torch.tensor([source]), max_length=24, min_length=3)[0].tolist() for source in sources]


@pytest.fixture(scope="module")
def sources(pair: Pair) -> list[tuple[int, ...]]:
    return [draw_sources(random.Random(seed), pair, 1)[0] for seed in range(REQUESTS)]


def test_an_fp32_model_says_what_torch_says_on_stock_kernels_too(pairs: list[Pair]) -> None:
    stock = [replace(pair, engine=model(pair.export, "stock")) for pair in pairs]
    outcome = run_cases(8, seed=2, pairs=stock)
    assert outcome.agrees, str(outcome)
    assert outcome.ties <= 1, str(outcome)


def test_an_fp32_model_says_what_torch_says_on_every_instruction_set(
    pairs: list[Pair], instruction_sets: list[str]
) -> None:
    for name in instruction_sets[1:]:
        forced = [replace(pair, engine=model(pair.export, name)) for pair in pairs[:1]]
        outcome = run_cases(4, seed=3, pairs=forced)
        assert outcome.agrees, str(outcome)


def test_replies_are_the_same_on_every_instruction_set_and_any_number_of_threads(
    int8_export: Path, instruction_sets: list[str], sources: list[tuple[int, ...]]
) -> None:
    expected = replies(model(int8_export, instruction_sets[0]), sources)
    for name in instruction_sets:
        for threads in (1, 2):
            assert replies(model(int8_export, name, threads), sources) == expected, (name, threads)


def test_every_reply_is_the_same_alone_and_among_any_neighbours(
    built: Path, pairs: list[Pair], int8_export: Path, wide_exports: dict[str, Path], sources: list[tuple[int, ...]]
) -> None:
    rng = np.random.default_rng(5)
    wide_sources = [(*rng.integers(4, 300, rng.integers(1, 40)).tolist(), 2) for _ in range(REQUESTS // 2)]
    folders = {pairs[0].export: sources, int8_export: sources, **dict.fromkeys(wide_exports.values(), wide_sources)}
    for folder, asked in folders.items():
        engine = model(folder, "auto")
        settings = replace(engine.settings, min_length=3, max_length=24)
        outcome = compare_alone_and_among(engine, asked, 11, settings)
        assert outcome.equal == len(asked), str(outcome)
        assert outcome.most_together >= 5


def test_logits_are_the_same_bit_for_bit_alone_and_among_neighbours(
    built: Path, wide_exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = load(wide_exports["int8"], threads=2)
    settings = replace(chat.settings, num_beams=3, min_length=10, max_length=10)
    rng = np.random.default_rng(1)
    sources = [[*rng.integers(4, 300, length).tolist(), 2] for length in (5, 20, 11, 33)]
    steps: list[NDArray[np.float32]] = []
    plain = StepBinding.run

    def watched(binding: StepBinding, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        outputs = plain(binding, inputs)
        steps.append(outputs["logits"].copy())
        return outputs

    monkeypatch.setattr(StepBinding, "run", watched)

    def logits(*group: list[int]) -> list[NDArray[np.float32]]:
        steps.clear()
        batch = chat.batch()
        for source in group:
            batch.add(Sequence(source, settings))
        for _ in range(6):
            batch.step()
        return list(steps)

    together = logits(*sources)
    for place, source in enumerate(sources):
        for alone, among in zip(logits(source), together, strict=True):
            rows = len(alone)
            assert alone.tobytes() == among[place * rows : (place + 1) * rows].tobytes()
