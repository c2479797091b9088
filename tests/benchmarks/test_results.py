"""Result files, and figures of several runs together."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from benchmarks import schema
from benchmarks.errors import InputError
from benchmarks.figures import Ratio
from benchmarks.results import FOLDER, Results
from tests.benchmarks import samples

COMMITTED = sorted(FOLDER.glob("*-cores/*.json"))


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.read(samples.write(tmp_path))


def with_run(results: Results, name: str, seconds: dict[str, list[float]]) -> Results:
    """The same with a further run, of contestants that took these times."""
    part = samples.latency(samples.head())
    timings = [samples.timing(label, values) for label, values in seconds.items()]
    races = [race.model_copy(update={"timings": timings}) for race in part.results]
    return Results(results.folder, {**results.parts, name: part.model_copy(update={"results": races})})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for name, part in samples.parts(samples.head()).items():
        path = tmp_path / f"{name}.json"
        path.write_text("old")
        schema.write(part, path)
        assert schema.read(path) == part
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_a_file_that_cannot_be_written_whole_leaves_the_older_one(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fill_the_disk(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text.encode(encoding)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(InputError, match=r"latency-400m\.json cannot be written \(No space left on device\)\."):
        schema.write(results.parts["latency-400m"], tmp_path / "latency-400m.json")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_files_are_as_the_schema_writes_them(path: Path, tmp_path: Path) -> None:
    schema.write(schema.read(path), tmp_path / path.name)
    assert (tmp_path / path.name).read_text() == path.read_text()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 5}, "format: Input should be 6"),
        ({"invented": 1}, "invented: Extra inputs are not permitted"),
        ({"benchmark": "dance"}, "it: Input tag 'dance'"),
        ({"results": [{"beams": 10}]}, "results.0.sizes: Field required"),
    ],
)
def test_file_that_is_no_result_is_refused_in_a_sentence(
    change: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    path = samples.write(tmp_path) / "latency-400m.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as caught:
        schema.read(path)
    assert str(caught.value).startswith(f"{path} is no result of these benchmarks: {complaint}")
    assert len(str(caught.value).splitlines()) == 1


def test_output_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    schema.check_output(tmp_path / "new.json")
    with pytest.raises(InputError, match="is a folder"):
        schema.check_output(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        schema.check_output(tmp_path / "missing" / "new.json")


def test_ratios_are_of_the_best_and_tell_the_rounds(results: Results) -> None:
    more = with_run(results, "latency-again-400m", {"torch-fp32": [7.0, 20.0], "ours-int8": [1.0, 2.0]})
    assert more.times("ours-int8", "torch-fp32", 10) == Ratio(7.0, 7.0, 10.0)
    assert more.latency(10)["torch-fp32"].seconds == [8.0, 16.0, 7.0, 20.0]
    assert more.latency(10)["torch-fp32"].ms_per_token == pytest.approx(7000 / 60)


def test_only_runs_of_both_count(results: Results) -> None:
    seconds = {"ours-int8": [0.1, 0.1], "torch-fp32": [1.0, 1.0], "torch-bf16": [4.0, 8.0]}
    both = with_run(results, "latency-variants-400m", seconds)
    assert both.times("ours-int8", "stock-dynamic-int8", 10) == Ratio(1.5, 1.5, 1.5)
    assert both.times("torch-bf16", "torch-fp32", 10) == Ratio(0.25, 0.125, 0.25)
    assert both.times("torch-compile", "torch-fp32", 10) is None


def test_results_of_several_machines_in_one_folder_are_refused(tmp_path: Path) -> None:
    samples.write(tmp_path)
    schema.write(samples.load(samples.head(cores=4), 10, 1), tmp_path / "load-400m.json")
    with pytest.raises(InputError, match="mixes results of a-processor-f1-m2-2-cores and a-processor-f1-m2-4-cores"):
        Results.read(tmp_path)


def test_rates_are_of_the_best_rounds(results: Results) -> None:
    ratio = results.rate("load-400m", "ours", 4, "ours", [1])
    assert ratio is not None
    assert (ratio.best, ratio.low, ratio.high) == pytest.approx([1.4 / 1.1] * 3)
    assert results.rate("load-400m", "ours", 4, "openvino", [1, 4]) is None
    best_of_both = results.rate("load-400m", "ours", 4, "stock-dynamic-int8", [1, 4])
    assert best_of_both is not None
    assert best_of_both.best == pytest.approx(1.4 / (0.4 * 1.4))


def test_errors_are_left_out_of_the_figures_and_counted(results: Results) -> None:
    served = results.served("load-400m", "ours")[4]
    assert served.errors == {"timeout": 2}
    assert served.rates == pytest.approx([1.4, 0.7])
    assert served.seconds(0.5) == pytest.approx(1.5 / 1.4)
    empty = schema.ServerRuns(label="ours", runs=[schema.Run(round=0, requests=[])])
    assert (empty.rates, empty.seconds(0.5), empty.errors) == ([0.0], None, {})


def test_quality_goes_by_what_was_exported_or_by_the_whole_name(results: Results) -> None:
    assert results.quality().keys() == {"int8", "int4"}
    rows = [samples.fidelity("int8", 0.9), samples.fidelity("stock-dynamic-int8", 0.9)]
    rows += [rows[0].model_copy(update={"exported": name}) for name in ("other-int8", "mine")]
    part = schema.Quality(**samples.head(), settings={}, results=rows)
    keys = Results(results.folder, {"quality": part}).quality().keys()
    assert keys == {"int8", "stock-dynamic-int8", "other-int8", "mine"}


def test_kernels_of_our_own_are_told_from_earlier_measurements(results: Results) -> None:
    assert not results.with_kernels(["latency-400m"])
    part = samples.latency(samples.head())
    engine = {"kernels": "AVX-512 VNNI"}
    contestants = [part.contestants[0].model_copy(update={"engine": engine}), part.contestants[1]]
    newer = Results(results.folder, {"latency-400m": part.model_copy(update={"contestants": contestants})})
    assert newer.with_kernels(["latency-400m"])
