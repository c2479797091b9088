"""Random tiny models whose replies end by themselves: torch beside fp32 exports, and one of them in int8."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine.model import ORTBlenderbotForConditionalGeneration
from tests.export_child import exported
from tests.service.engine.parity_cases import Pair, make_pairs


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return make_pairs(tmp_path_factory.mktemp("pairs"), seed=1)


@pytest.fixture(scope="session")
def pair(pairs: list[Pair]) -> Pair:
    return pairs[0]


@pytest.fixture(scope="session")
def int8_export(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first checkpoint with 8-bit weights; its matrices are not of whole pages."""
    return exported(pair.checkpoint, tmp_path_factory.mktemp("int8") / "odd-int8", "int8")


@pytest.fixture(scope="session")
def int8_engine(int8_export: Path) -> ORTBlenderbotForConditionalGeneration:
    return ORTBlenderbotForConditionalGeneration.from_pretrained(int8_export, threads=1)
