"""Figures of several runs together, and of machines apart."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from benchmarks.evidence.results import Ratio, Results
from tests.benchmarks.evidence import samples


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.read(samples.write(tmp_path))


def with_run(results: Results, name: str, seconds: dict[str, list[float]], **machine: str) -> Results:
    """The same with a further run, in which some contestants took other times."""
    part = copy.deepcopy(results.parts["latency-400m"])
    part["machine"] |= machine
    for result in part["results"]:
        for row in result["backends"]:
            row["seconds"] = seconds.get(row["label"], row["seconds"])
    return Results(results.folder, {**results.parts, name: part})


def test_ratios_are_of_the_best_and_tell_the_rounds(results: Results) -> None:
    slower = with_run(results, "latency-again-400m", {"torch-fp32": [7.0, 20.0], "ours-int8": [1.0, 2.0]})
    assert slower.times("ours-int8", "torch-fp32", 10) == Ratio(7.0, 7.0, 10.0)
    assert slower.latency(10)["torch-fp32"]["best_s"] == 7.0
    assert slower.latency(10)["torch-fp32"]["seconds"] == [8.0, 16.0, 7.0, 20.0]


def test_machines_are_kept_apart(results: Results) -> None:
    other = with_run(results, "latency-variants-400m", {"torch-fp32": [1.0, 1.0]}, cpu_model="3")
    assert other.times("ours-int8", "torch-fp32", 10) == results.times("ours-int8", "torch-fp32", 10)
    assert other.latency(10) == results.latency(10)
    first, second = other.by_machine()
    assert second.latency(10)["torch-fp32"]["best_s"] == 1.0
    assert "latency-400m" not in second.parts
    assert first.parts["load-400m"] == second.parts["load-400m"]


def test_what_only_another_machine_has_is_found_there(results: Results) -> None:
    other = with_run(results, "latency-variants-400m", {}, cpu_model="3")
    for result in other.parts["latency-variants-400m"]["results"]:
        result["backends"] += [samples.backend("torch-bf16", 4.0)]
    assert other.times("torch-bf16", "torch-fp32", 10) == Ratio(2.0, 2.0, 2.0)
    assert other.times("torch-compile", "torch-fp32", 10) is None


def test_rates_are_of_the_best_rounds(results: Results) -> None:
    (one,) = [one for one in results.parts["load-400m"]["results"] if one["load"]["clients"] == 4]
    ours = next(server for server in one["servers"] if server["label"] == "ours")
    ours["runs"] = [{"replies_per_s": 1.0, "requests": []}, {"replies_per_s": 2.2, "requests": []}]
    found = results.rate("load-400m", ("ours", 4), ("ours", [1]))
    assert results.rate("load-400m", ("ours", 4), ("openvino", [1, 4])) is None
    assert found is not None
    assert (found.value, found.least, found.greatest) == pytest.approx((2.0, 1 / 1.1, 2.0))
