from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.errors import OutputError
from benchmarks.latency import BackendRun, BeamRun, LatencyRun
from benchmarks.models import Models
from benchmarks.report import WIDTH, LatencyReport, check_output, write_json
from benchmarks.workload import Workload

MACHINE = {
    "cpu": "A processor whose vendor is fond of a very long marketing name (R) with Graphics",
    "cpu_flags": ["avx2", "avx512_vnni"],
    "cores": 2,
    "memory_bytes": 24 * 2**30,
    "os": "Linux 6.1",
}


def report() -> LatencyReport:
    reference = BackendRun("torch fp32", 3.0, 1.0, 10**9, 2_000_000_000, [6.0, 8.0], [[7, 2], [8, 2]])
    exported = BackendRun("onnx int8", 2.0, 0.5, 10**9, 1_000_000_000, [2.0, 4.0], [[7, 2], [9, 2]])
    again = replace(exported, label="onnx int8 (again)", seconds=[2.0, 3.2])
    models = Models("owner/model", Path("/secret/checkpoint"), Path("/secret/exported"), "int8", True, 128)
    workload = Workload(beams=(10,), new_tokens=2, source_tokens=28, rounds=2, threads=2)
    run = LatencyRun({"num_beams": 10}, (BeamRun(10, (reference, exported, again)),))
    return LatencyReport("2020-01-01T00:00:00+00:00", MACHINE, {"torch": "1"}, models, workload, run)


def test_table_shows_the_figures_in_aligned_columns() -> None:
    text = report().as_text()
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("beam 10"))
    assert [" ".join(line.split()) for line in lines[start : start + 4]] == [
        "beam 10 median s p90 s ms/token vs torch peak MB load s",
        "torch fp32 7.000 7.800 3500.0 1 2000 4.0",
        "onnx int8 3.000 3.800 1500.0 2.50 (2.00-3.00) 1000 2.5",
        "onnx int8 (again) 2.600 3.080 1300.0 2.75 (2.50-3.00) 1000 2.5",
    ]
    assert len({len(line) for line in lines[start : start + 4]}) == 1
    assert "A/A: onnx int8 against itself 1.12 (1.00-1.25)" in text
    assert "onnx int8 equal to torch fp32 in 1 of 2 replies" in text


def test_table_fits_the_width_and_is_ascii() -> None:
    text = report().as_text()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.isascii()


def test_random_weights_are_labelled() -> None:
    random = report()
    real = replace(random, models=replace(random.models, random_weights=False))
    assert "random weights: numeric fidelity only" in " ".join(random.as_text().split())
    assert "numeric fidelity: onnx int8 equal" in random.as_text()
    assert "random weights" not in " ".join(real.as_text().split())
    assert "same replies: onnx int8 equal" in real.as_text()


def test_json_holds_raw_values_settings_machine_and_versions() -> None:
    content = report().as_json()
    assert content["machine"] == MACHINE
    assert content["versions"] == {"torch": "1"}
    assert content["settings"]["decoding"] == {"num_beams": 10}
    assert content["settings"]["warm_up_rounds"] == 1
    (result,) = content["results"]
    assert [backend["seconds"] for backend in result["backends"]] == [[6.0, 8.0], [2.0, 4.0], [2.0, 3.2]]
    assert result["backends"][1]["speed_up"] == {"median": 2.5, "least": 2.0, "greatest": 3.0}
    assert result["agreement"]["numeric_fidelity_only"] is True
    assert "/secret" not in json.dumps(content)


def test_json_is_written_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    write_json({"a": 1}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]


def test_output_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    check_output(tmp_path / "new.json")
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path)
    with pytest.raises(OutputError, match="There is no folder"):
        check_output(tmp_path / "missing" / "new.json")


def test_environment_names_machine_and_versions() -> None:
    machine = environment.machine()
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 2**28
    assert set(machine["cpu_flags"]) <= set(environment.CPU_FLAGS)
    assert json.dumps(machine)
    assert {"python", "torch", "onnxruntime", "transformers"} <= environment.versions().keys()
