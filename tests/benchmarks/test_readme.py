"""The figures of README and docs are those of the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.readme import PAGES, SECTION, filled

TABLES = dict(zip(PAGES, ({"summary"}, {"latency", "greedy", "load"}), strict=True))


@pytest.mark.parametrize(("page", "tables"), list(TABLES.items()))
def test_a_page_shows_the_committed_results(page: Path, tables: set[str]) -> None:
    text = page.read_text(encoding="utf-8")
    assert {table["name"] for table in SECTION.finditer(text)} == tables
    assert filled(text) == text


@pytest.mark.parametrize("page", PAGES)
def test_a_figure_changed_by_hand_would_be_found(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    table = next(SECTION.finditer(text))
    planted = text[: table.end(1)] + "| made up | 1 |\n" + text[table.start(3) :]
    assert filled(planted) == text
