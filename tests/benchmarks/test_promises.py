"""One list of promises and one judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Ratio, smallest
from benchmarks.promises import KERNEL_SPEED, PROMISES, Promise, Verdict, verdicts
from benchmarks.results import Results
from tests.benchmarks import samples


@pytest.fixture
def judged(tmp_path: Path) -> dict[str, Verdict]:
    return {verdict.promise.text: verdict for verdict in verdicts(Results.read(samples.write(tmp_path)))}


def test_promises_are_met_or_missed_by_the_best_rounds(judged: dict[str, Verdict]) -> None:
    torch = judged["int8, 10 beams, beside torch fp32"]
    assert (str(torch), torch.word) == ("8 x", "met")
    stock = judged["int8, 10 beams, beside stock Optimum, dynamic int8"]
    assert (str(stock), stock.word) == ("1.5 x", "**missed**")
    assert judged["int8, 10 beams, beside OpenVINO, int8 weights"].word == "not measured"
    assert judged["8 greedy clients beside one"].word == "**missed**"
    assert judged["4 clients beside the tutorial's app"].word == "met"
    assert judged["int4: same first choice as fp32"].word == "**missed**"
    assert judged["int8: perplexity beside fp32"].word == "met"
    assert str(judged["export to int8: time"]) == "35 s"


def test_memory_counts_at_its_largest_and_time_at_its_best(judged: dict[str, Verdict]) -> None:
    memory = judged["serving int8 at 10 beams: memory"]
    assert (str(memory), memory.word) == ("930 MB (920 to 930)", "**missed**")
    ready = judged["serving int8: ready with warm files"]
    assert (str(ready), ready.word) == ("2 s (2 to 3)", "met")


def test_a_figure_at_the_limit_keeps_the_promise() -> None:
    least = Promise("fast", 2.0, lambda _: None)
    most = Promise("small", 2.0, lambda _: None, "MB", at_most=True)
    assert [Verdict(least, smallest([value])).met for value in (1.99, 2.0, 2.01)] == [False, True, True]
    assert [Verdict(most, smallest([value])).met for value in (1.99, 2.0, 2.01)] == [True, True, False]
    assert (least.bound, most.bound) == ("at least 2 x", "at most 2 MB")
    assert Verdict(least, Ratio(1.9, 2.5, 3.0)).met is False


def test_every_promise_is_made_once() -> None:
    assert len({promise.text for promise in PROMISES}) == len(PROMISES)
    assert all(limit >= 1 for sets in KERNEL_SPEED.values() for work in sets.values() for limit in work.values())
