from __future__ import annotations

import io
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import latency, output, schema
from benchmarks.errors import InputError
from benchmarks.plots import MARKS, picture
from benchmarks.report import BLOCK, FILE_NAME, PAGES, PICTURE, filled, page, write
from benchmarks.results import Results, all_machines
from tests.benchmarks import samples

OF_MACHINES = {"machines", "promises", "latency", "greedy", "load"}
TABLES = dict(zip(PAGES, ({"summary", "shapes"}, OF_MACHINES, {"shapes"}), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = samples.write(tmp_path_factory.mktemp("results"))
    write(path)
    return path


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / FILE_NAME).read_text()


@pytest.fixture
def two_machines(tmp_path: Path) -> Path:
    for model in ("2", "3"):
        (tmp_path / f"a-processor-f1-m{model}-2-cores").mkdir()
        samples.write(tmp_path / f"a-processor-f1-m{model}-2-cores", model)
    slower = tmp_path / "a-processor-f1-m3-2-cores"
    (slower / "load-greedy-400m.json").unlink()
    part = samples.latency(samples.head("3"))
    timings = [timing for timing in part.results[0].timings if timing.label != "ctranslate2-int8"]
    timings[1] = timings[1].model_copy(update={"seconds": [2.0, 2.5], "peak_bytes": 2 * 10**9})
    races = [race.model_copy(update={"timings": timings}) for race in part.results]
    schema.write(part.model_copy(update={"results": races}), slower / "latency-400m.json")
    return tmp_path


def test_page_shows_figures_noise_and_what_is_missing(text: str) -> None:
    flat = " ".join(text.split())
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x | 8 x | met |" in flat
    assert "| **this project**, int8 | 1 (1 to 2) | 16.7 | 2.1 | 8 | 1 | 1,000 | 1 of 2 |" in flat
    assert "| OpenVINO, int8 weights | missing |" in flat
    assert "- openvino-int8 (latency-400m): openvino.txt cannot be installed: pip ended with exit code 1." in flat
    assert (
        "within 12.0% of 1 in the middle half of the rounds, after 3 attempts; **too noisy** (more than 10%); " in flat
    )
    assert "CTranslate2, int8 runs without encoder_no_repeat_ngram_size. It runs another model: a BART." in flat
    assert "30.0 GB/s" in flat
    assert "| 4 | **this project**, int8 | 1.4 (0.7 to 1.4) | 84 | 1.07 | 1.36 | 1.42 | 1.43 | 2 | 1.273 |" in flat
    assert "- errors: 4 clients: ours: 2 x timeout, such as: late." in flat
    assert "| **this project**, int8 | 1.0002 | 2.00e-04 | 4.00e-03 | 99.15% | 90.0% of 50 |" in flat
    assert "## How it was tuned | options | best_s | | --- | --- | | spinning | 0.25 |" in flat
    assert "Measured once, 2020-01-02: new tokens 60." in flat
    assert "| synthetic, **this project**, int8 | 35 s | 1.40 GB | 416 MB | 1.00 GB | 1.00 s | 1.00 s |" in flat
    assert "| 3b, **this project**, int8 | 350 s | 1.40 GB | 416 MB | - | - | - |" in flat
    assert "- latency-variants-400m: not measured; `make bench-all` does." in flat
    assert "random weights: numeric fidelity only" in flat


def test_page_does_without_torch_and_without_a_pair(folder: Path) -> None:
    results = Results.read(folder)
    part = samples.latency(samples.head())
    races = [race.model_copy(update={"a_a": None, "timings": race.timings[1:2]}) for race in part.results]
    lonely = part.model_copy(update={"missing": [], "results": races})
    written = page(Results(results.folder, {"latency-400m": lonely}))
    assert "| **this project**, int8 | 1 (1 to 2) | 16.7 | 2.1 | - | 1 | 1,000 | 1 of 2 |" in written
    assert "ours beside itself: not measured." in written
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x | - | not measured |" in written


def test_a_server_that_ended_is_told_with_its_round(folder: Path) -> None:
    results = Results.read(folder)
    part = samples.load(samples.head(), 10, 1)
    runs = part.results[0].servers[0].runs
    runs[1] = runs[1].model_copy(update={"ended": "was ended by signal 15"})
    written = page(Results(results.folder, {"load-400m": part}))
    assert "- errors: 1 client: ours: in round 2 the server was ended by signal 15." in written


def test_figures_of_text_and_page_are_the_same(folder: Path, text: str) -> None:
    shown = io.StringIO()
    blocks = list(latency.section(Results.read(folder)))
    output.show(blocks, shown)
    for block in blocks:
        assert block in text
        for row in re.findall(r"^\| (?!---)(.*) \|$", block, re.MULTILINE):
            cells = row.split(" | ")
            assert re.search(r"\s+".join(map(re.escape, cells[2:4])), shown.getvalue())
    assert "**" not in shown.getvalue()


def test_tables_are_whole(text: str, two_machines: Path) -> None:
    compared = "".join(filled(path.read_text(), all_machines(two_machines)) for path in PAGES)
    for written in (text, compared):
        for block in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_same_figures_give_the_same_page(folder: Path, tmp_path: Path) -> None:
    write(samples.write(tmp_path))
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_part_that_was_not_measured_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "latency-400m.json", tmp_path)
    write(tmp_path)
    written = (tmp_path / FILE_NAME).read_text()
    assert "- load-400m: not measured; `make bench-all` does." in written
    assert "Many clients" not in written


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path)


def test_each_machine_has_a_column(two_machines: Path) -> None:
    names = (*OF_MACHINES, "shapes")
    template = "\n".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in names)
    written = filled(template, all_machines(two_machines))
    assert "| promise | limit | A processor, 1-2 (†) | A processor, 1-3 (†) |" in written
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x | 8 x, met | 4 x, **missed** |" in written
    assert "| int8, 10 beams, beside CTranslate2, int8 | at least 1.8 x | 2 x, met | - |" in written
    assert "| **this project**, int8 | 1.00 s, 8.0 x | 2.00 s, 4.0 x | 2,000 MB |" in written
    assert "| CTranslate2, int8 (*) | 2.00 s, 4.0 x | - | 1,000 MB |" in written
    row = "| **this project**, int8, 10 beams, 1 and 4 clients | 1.10 and 1.40, 1.3 x | 1.10 and 1.40, 1.3 x |"
    assert row in written
    assert "| **this project**, int8, greedy, 1 and 8 clients | 1.10 and 1.80, 1.6 x | - |" in written
    assert "| A processor, 1-2 | export | most memory | folder |" in written
    assert f"[2020-01-02](../benchmarks/results/a-processor-f1-m3-2-cores/{FILE_NAME})" in written


def test_the_picture_has_a_mark_for_each_speed(two_machines: Path) -> None:
    root = ET.fromstring(picture(all_machines(two_machines)))
    marks = [(node.get("x"), node.text) for node in root if (node.get("class") or "").startswith("middle m")]
    # Torch, ours and stock Optimum on both machines, CTranslate2 on one; the faster machine has ours farthest right.
    assert sorted(mark for _, mark in marks if mark) == ["■"] * 3 + ["●"] * 4
    assert max(marks, key=lambda mark: float(mark[0] or 0))[1] == "●"


def test_the_picture_has_colours_for_light_and_for_dark_pages(two_machines: Path) -> None:
    light, dark = picture(all_machines(two_machines)).partition("@media (prefers-color-scheme: dark)")[::2]
    for style in ("text", *(f".m{number}" for number in range(len(MARKS)))):
        assert f"{style} {{" in light
        assert f"{style} {{" in dark


def test_only_folders_named_after_their_machine_count(two_machines: Path) -> None:
    (two_machines / "short").mkdir()
    samples.write(two_machines / "short")
    (two_machines / "elsewhere-2-cores").mkdir()
    samples.write(two_machines / "elsewhere-2-cores")
    (two_machines / "empty-2-cores").mkdir()
    assert [results.folder.name for results in all_machines(two_machines)] == [
        "a-processor-f1-m2-2-cores",
        "a-processor-f1-m3-2-cores",
    ]


MACHINES = all_machines()


@pytest.mark.parametrize("results", MACHINES, ids=lambda results: results.folder.name)
def test_committed_reports_are_those_of_the_committed_results(results: Results) -> None:
    assert (results.folder / FILE_NAME).read_text(encoding="utf-8") == page(results)


def test_committed_picture_is_that_of_the_committed_results() -> None:
    assert len(MACHINES) > 1
    assert PICTURE.read_text(encoding="utf-8") == picture(MACHINES)


@pytest.mark.parametrize(("path", "names"), list(TABLES.items()), ids=lambda value: getattr(value, "name", None))
def test_a_page_shows_the_committed_results(path: Path, names: set[str]) -> None:
    written = path.read_text(encoding="utf-8")
    assert {table["name"] for table in BLOCK.finditer(written)} == names
    assert filled(written, MACHINES) == written


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_figure_changed_by_hand_would_be_found(path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    table = next(BLOCK.finditer(written))
    planted = written[: table.end(1)] + "| made up | 1 |\n" + written[table.start(3) :]
    assert filled(planted, MACHINES) == written
