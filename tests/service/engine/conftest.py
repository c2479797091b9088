"""Random tiny models whose replies end by themselves: torch beside fp32 exports, and one of them in int8."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.service.engine.parity_cases import Pair, load_pairs, write_pairs
from tests.shared import SharedFolders


@pytest.fixture(scope="session")
def pairs(shared: SharedFolders) -> list[Pair]:
    return load_pairs(shared.folder("pairs", lambda folder: write_pairs(folder, seed=1)))


@pytest.fixture(scope="session")
def pair(pairs: list[Pair]) -> Pair:
    return pairs[0]


@pytest.fixture(scope="session")
def int8_export(shared: SharedFolders, pair: Pair) -> Path:
    """The first checkpoint with 8-bit weights; its matrices are not of whole pages."""
    return shared.export(pair.checkpoint, "odd-int8", "int8")


@pytest.fixture(scope="session")
def int8_engine(int8_export: Path) -> ORTBlenderbotForConditionalGeneration:
    return ORTBlenderbotForConditionalGeneration.from_pretrained(int8_export, threads=1)
