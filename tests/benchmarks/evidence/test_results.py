"""Figures of several runs together."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from benchmarks.errors import InputError
from benchmarks.evidence.results import Ratio, Results
from tests.benchmarks.evidence import samples


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.read(samples.write(tmp_path))


def with_run(results: Results, name: str, seconds: dict[str, list[float]]) -> Results:
    """The same with a further run, in which some contestants took other times."""
    part = copy.deepcopy(results.parts["latency-400m"])
    for result in part["results"]:
        for row in result["backends"]:
            row["seconds"] = seconds.get(row["label"], row["seconds"])
    return Results(results.folder, {**results.parts, name: part})


def test_ratios_are_of_the_best_and_tell_the_rounds(results: Results) -> None:
    slower = with_run(results, "latency-again-400m", {"torch-fp32": [7.0, 20.0], "ours-int8": [1.0, 2.0]})
    assert slower.times("ours-int8", "torch-fp32", 10) == Ratio(7.0, 7.0, 10.0)
    assert slower.latency(10)["torch-fp32"]["best_s"] == 7.0
    assert slower.latency(10)["torch-fp32"]["seconds"] == [8.0, 16.0, 7.0, 20.0]


def test_only_runs_of_both_count(results: Results) -> None:
    both = with_run(results, "latency-variants-400m", {"ours-int8": [0.1, 0.1], "torch-fp32": [1.0, 1.0]})
    for result in both.parts["latency-variants-400m"]["results"]:
        result["backends"] = [row for row in result["backends"] if row["label"] != "stock-dynamic-int8"]
        result["backends"] += [samples.backend("torch-bf16", 4.0)]
    assert both.times("ours-int8", "stock-dynamic-int8", 10) == Ratio(1.5, 1.5, 1.5)
    assert both.times("torch-bf16", "torch-fp32", 10) == Ratio(0.25, 0.125, 0.25)
    assert both.times("torch-compile", "torch-fp32", 10) is None


def test_results_of_several_machines_in_one_folder_are_refused(tmp_path: Path) -> None:
    samples.write(tmp_path)
    other = json.loads((tmp_path / "load-400m.json").read_text())
    other["machine"]["cores"] = 4
    (tmp_path / "load-400m.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="mixes results of a-processor-f1-m2-2-cores and a-processor-f1-m2-4-cores"):
        Results.read(tmp_path)


def test_rates_are_of_the_best_rounds(results: Results) -> None:
    (one,) = [one for one in results.parts["load-400m"]["results"] if one["load"]["clients"] == 4]
    ours = next(server for server in one["servers"] if server["label"] == "ours")
    ours["runs"] = [{"replies_per_s": 1.0, "requests": []}, {"replies_per_s": 2.2, "requests": []}]
    found = results.rate("load-400m", ("ours", 4), ("ours", [1]))
    assert results.rate("load-400m", ("ours", 4), ("openvino", [1, 4])) is None
    assert found is not None
    assert (found.value, found.least, found.greatest) == pytest.approx((2.0, 1 / 1.1, 2.0))
