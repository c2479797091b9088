from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.errors import OutputError
from benchmarks.floor import StepWeights
from benchmarks.limits import Limits
from benchmarks.models import Checkpoint
from benchmarks.output import WIDTH, check_output, write_json
from benchmarks.report import LatencyReport
from benchmarks.runs import BackendRun, BeamRun, Contestant, LatencyRun, Missing, Participant
from benchmarks.workload import Workload

MACHINE = {
    "cpu": "A processor whose vendor is fond of a very long marketing name (R) with Graphics",
    "cpu_flags": ["avx2", "avx512_vnni"],
    "cores": 2,
    "memory_bytes": 24 * 2**30,
    "os": "Linux 6.1",
}
# A step reads 100 million weights: 40 ms in fp32, 10 in 8 bits; products of 10 rows take 20 ms in fp32, 2 in 8 bits.
LIMITS = Limits(2, 10e9, {"fp32": 100e9, "bf16": 100e9, "int8": 1000e9})
WEIGHTS = StepWeights(90_000_000, 10_000_000)
REFERENCE = BackendRun("torch-fp32", 3.0, 1.0, 10**9, 2_000_000_000, [6.0, 8.0], [9.0, 9.0], [[7, 2], [8, 2]])
STOCK = BackendRun("stock-int8", 2.0, 0.5, 10**9, 1_000_000_000, [2.0, 4.0], [4.0, 4.0], [[7, 2], [9, 2]])
OURS = replace(STOCK, label="ours-int8", seconds=[1.0, 1.0])
AGAIN = replace(OURS, label="ours-int8 (again)", seconds=[1.0, 0.8])
TWIN = replace(STOCK, label="ctranslate2-int8", seconds=[3.0, 3.0], replies=[[4, 4], [5, 5]])


def participant(label: str, *, other_model: str = "", lacking: tuple[str, ...] = ()) -> Participant:
    name = label.removesuffix(" (again)")
    precision = name.rpartition("-")[2]
    path = Path("/secret") / name
    contestant = Contestant(label, (), path, name, f"{name} as it is", precision=precision, other_model=other_model)
    return Participant(contestant, lacking, {"package": "1.2"}, {"precision": "some"})


def report(*backends: BackendRun) -> LatencyReport:
    runs = backends or (REFERENCE, STOCK, OURS, AGAIN, TWIN)
    checkpoint = Checkpoint("model", "owner/model", Path("/secret/checkpoint"), True, 128)
    workload = Workload(beams=(10,), new_tokens=2, source_tokens=28, rounds=2, threads=2)
    participants = [participant(run.label) for run in runs if run is not TWIN]
    if TWIN in runs:
        participants.append(participant(TWIN.label, other_model="a twin", lacking=("encoder_no_repeat_ngram_size",)))
    run = LatencyRun(
        {"num_beams": 10},
        (BeamRun(10, runs, (0.19, 0.3)),),
        tuple(participants),
        (Missing("openvino-int4", "no such file"),),
    )
    missing = [Missing("openvino-int8", "pip ended with exit code 1")]
    date = "2020-01-01T00:00:00+00:00"
    return LatencyReport(date, MACHINE, {"torch": "1"}, checkpoint, workload, run, LIMITS, WEIGHTS, missing)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_table_shows_the_figures_in_aligned_columns() -> None:
    text = report().as_text()
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("beam 10"))
    assert [flat(line) for line in lines[start : start + 6]] == [
        "beam 10 median s p90 s ms/token floors vs torch ours vs it peak MB",
        "torch-fp32 7.000 7.800 3500.0 87.5 1 7 (6-8) 2000",
        "stock-int8 3.000 3.800 1500.0 150.0 2.5 (2-3) 3 (2-4) 1000",
        "ours-int8 1.000 1.000 500.0 50.0 7 (6-8) 1 1000",
        "ours-int8 (again) 0.900 0.980 450.0 45.0 8 (6-10) 0.9 (0.8-1) 1000",
        "ctranslate2-int8* 3.000 3.000 1500.0 150.0 2.33 (2-2.67) 3 (3-3) 1000",
    ]
    assert len({len(line) for line in lines[start : start + 6]}) == 1
    assert "A/A: ours-int8 against itself 1.12 (1-1.25), equal replies 2 of 2" in text
    assert "The middle half is within 19.0% of 1: too noisy, more than 10%." in flat(text)
    assert "the decoder's weights read once, at 10.0 GB/s" in flat(text)


def test_table_fits_the_width_and_is_ascii() -> None:
    text = report().as_text()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.isascii()


def test_replies_are_compared_where_the_model_is_the_same() -> None:
    text = flat(report().as_text())
    assert "stock-int8 1 of 2 (1), ours-int8 1 of 2 (1), ours-int8 (again) 1 of 2 (1)" in text
    assert "ctranslate2-int8 0 of 2" not in text
    found = {backend["label"]: backend for backend in report().as_json()["results"][0]["backends"]}
    assert found["stock-int8"]["agreement_with_torch"] == {"equal": 1, "replies": 2, "shared_tokens": 1.0}
    assert found["ctranslate2-int8"]["agreement_with_torch"] is None


def test_what_a_rival_lacks_is_marked() -> None:
    text = flat(report().as_text())
    assert (
        "* ctranslate2-int8: ctranslate2-int8 as it is (package 1.2, precision some). Not the checkpoint's model, so "
        "its tokens are not compared. Without encoder_no_repeat_ngram_size."
    ) in text
    assert "missing: openvino-int8: pip ended with exit code 1." in text
    assert "missing: openvino-int4: no such file." in text
    content = report().as_json()
    assert content["contestants"][-1]["settings_lacking"] == ["encoder_no_repeat_ngram_size"]
    assert [missing["name"] for missing in content["missing"]] == ["openvino-int8", "openvino-int4"]


def test_report_does_without_torch_and_without_a_pair() -> None:
    lonely = report(STOCK)
    text = flat(lonely.as_text())
    assert "stock-int8 3.000 3.800 1500.0 150.0 - - 1000" in text
    assert "A/A" not in text
    (result,) = lonely.as_json()["results"]
    assert result["a_a"] is None
    assert result["backends"][0]["versus_torch"] is None
    assert result["backends"][0]["ours_versus_it"] is None


def test_random_weights_are_labelled() -> None:
    random = report()
    real = replace(random, checkpoint=replace(random.checkpoint, random_weights=False))
    assert "random weights: numeric fidelity only" in flat(random.as_text())
    assert "numeric fidelity, replies equal to torch-fp32's" in flat(random.as_text())
    assert "random weights" not in flat(real.as_text())
    assert "fidelity, replies equal to" in flat(real.as_text())


def test_json_holds_raw_values_settings_machine_and_versions() -> None:
    content = report().as_json()
    assert content["format"] == 3
    assert content["machine"] == MACHINE
    assert content["versions"] == {"torch": "1"}
    assert content["settings"]["decoding"] == {"num_beams": 10}
    assert content["settings"]["warm_up_rounds"] == 1
    (result,) = content["results"]
    assert [backend["seconds"] for backend in result["backends"]][:3] == [[6.0, 8.0], [2.0, 4.0], [1.0, 1.0]]
    assert result["backends"][1]["versus_torch"] == {"median": 2.5, "least": 2.0, "greatest": 3.0}
    assert result["backends"][1]["ours_versus_it"] == {"median": 3.0, "least": 2.0, "greatest": 4.0}
    assert result["backends"][1]["generated_tokens"] == 4
    assert result["a_a"]["labels"] == ["ours-int8", "ours-int8 (again)"]
    assert result["a_a"]["ratio"] == {"median": 1.125, "least": 1.0, "greatest": 1.25}
    assert (result["a_a"]["noise"], result["a_a"]["attempts"], result["a_a"]["too_noisy"]) == (0.19, [0.19, 0.3], True)
    assert content["limits"]["read_bytes_per_s"] == 10e9
    assert result["backends"][2]["floor_ms"] == 10
    assert "loading" in content["settings"]["excluded"]
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
