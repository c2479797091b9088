"""Our engine beside the stock class on the same int8 folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.service.engine.parity_cases import Pair, draw_sources
from tests.service.engine.stock import compare_with_stock
from tests.service.engine.test_neighbours import INT8_NOISE

PROMPTS = 12
# Where sums are rounded otherwise, an activation may be rounded to the next of its 8-bit steps, and with random weights
# such steps grow from layer to layer.
LARGEST_GAP = {"stock": INT8_NOISE, "auto": 2 * INT8_NOISE}


@pytest.mark.parametrize("kernels", LARGEST_GAP)
@pytest.mark.parametrize("beams", [10, 1])
def test_an_int8_folder_says_the_same_in_our_class_and_in_the_stock_one(
    pair: Pair, int8_export: Path, beams: int, kernels: str
) -> None:
    sources = [draw_sources(random.Random(seed), pair, 1)[0] for seed in range(PROMPTS)]
    comparison = compare_with_stock(int8_export, sources, kernels=kernels, num_beams=beams, min_length=5, max_length=24)
    assert comparison.equal >= 0.75 * PROMPTS, str(comparison)
    assert comparison.largest_gap < LARGEST_GAP[kernels], str(comparison)


@pytest.mark.parametrize("bits", ["int8", "int4"])
@pytest.mark.parametrize("beams", [4, 1])
@pytest.mark.parametrize("kernels", LARGEST_GAP)
def test_a_wide_folder_says_the_same_in_our_class_and_in_the_stock_one(
    wide_exports: dict[str, Path], bits: str, beams: int, kernels: str
) -> None:
    draw = random.Random(5)
    sources = [[*draw.choices(range(4, 300), k=draw.randint(3, 40)), 2] for _ in range(PROMPTS)]
    comparison = compare_with_stock(
        wide_exports[bits], sources, kernels=kernels, num_beams=beams, min_length=5, max_length=16
    )
    assert comparison.equal >= 0.75 * PROMPTS, str(comparison)
    assert comparison.largest_gap < LARGEST_GAP[kernels], str(comparison)
