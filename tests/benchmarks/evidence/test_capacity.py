"""What the figures mean for a number of visitors."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evidence.capacity import capacity_page, rates
from benchmarks.evidence.results import Results
from tests.benchmarks.evidence import samples


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.read(samples.write(tmp_path))


def test_the_best_rate_of_each_way_of_decoding_counts(results: Results) -> None:
    found = {rate.decoding: rate for rate in rates(results)}
    assert {name: rate.clients for name, rate in found.items()} == {"10 beams": 4, "greedy": 8}
    assert found["10 beams"].replies_per_s == pytest.approx(1.4)
    assert found["greedy"].replies_per_s == pytest.approx(1.8)


def test_replicas_carry_the_visitors_with_something_to_spare(results: Results) -> None:
    rate = rates(results)[0]
    for visitors in (1, 10, 1000, 12_345):
        carried = (rate.replicas(visitors) - 1) * rate.replies_per_s * 0.6
        assert carried >= visitors / 30.0 > carried - rate.replies_per_s * 0.6


def test_the_page_has_cores_memory_and_the_share_of_redis(results: Results) -> None:
    page = capacity_page(results)
    assert page is not None
    assert "| visitors at once | 10 | 1,000 | 100,000 |" in page
    assert "| messages a second | 0.3 | 33.3 | 3,333.3 |" in page
    assert "| **cores, 10 beams** | **4** | **82** | **7,940** |" in page
    assert "| their memory, 10 beams | 1.9 GB | 38.1 GB | 3,692.1 GB |" in page
    assert "| share of what one Redis appends | 0.0% | 1.7% | 166.7% |" in page
    assert "| Redis commands a reply | 5 |" in page


def test_without_all_figures_there_is_no_page(results: Results) -> None:
    for lost in ({"store-redis"}, {"load-400m", "load-greedy-400m"}):
        parts = {name: part for name, part in results.parts.items() if name not in lost}
        assert capacity_page(Results(results.folder, parts)) is None
