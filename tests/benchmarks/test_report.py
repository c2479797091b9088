from __future__ import annotations

import io
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import latency, plots, schema, tables
from benchmarks.errors import InputError
from benchmarks.plots import PICTURES, THEMES
from benchmarks.report import BLOCK, FILE_NAME, PAGES, compare, comparison, filled, page, write
from benchmarks.results import FOLDER, Results, machines
from tests.benchmarks import samples

TABLES = dict(zip(PAGES, ({"summary"}, {"latency", "greedy", "load"}), strict=True))


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
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x (aim 10) | 8 x | met |" in flat
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
    assert "| **this project**, int8 | 1.0002 | 2.00e-04 | 4.00e-03 | 99.15% | 90.0% of 50 | 97.5 |" in flat
    assert "| 3b | int8 | 1,000 MB | 2 s | 1.00 GB | 1.00 GB | 2.00 s | 2.00 s |" in flat
    assert "- latency-variants-400m: not measured; `python -m benchmarks latency --rivals`." in flat
    assert "random weights: numeric fidelity only" in flat


def test_figures_of_text_and_page_are_the_same(folder: Path, text: str) -> None:
    blocks = list(latency.section(Results.read(folder)))
    shown = io.StringIO()
    tables.show(blocks, shown)
    for block in blocks:
        if isinstance(block, tables.Table):
            for row in block.rows:
                assert f"| {' | '.join(row)} |" in text
                assert re.search(r"\s+".join(map(re.escape, row[1:4])), shown.getvalue())
    assert "**" not in shown.getvalue()


def test_tables_are_whole(text: str, two_machines: Path) -> None:
    for written in (text, compare(two_machines).read_text()):
        for block in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_every_picture_is_there_for_light_and_dark_pages_and_is_shown(folder: Path, text: str) -> None:
    for name in PICTURES:
        for theme in THEMES:
            root = ET.parse(folder / f"{name}-{theme.name}.svg").getroot()
            assert root.tag.endswith("svg")
            assert f'{name}-{theme.name}.svg"' in text
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".svg"}


def test_same_figures_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    write(samples.write(tmp_path))
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_part_that_was_not_measured_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "latency-400m.json", tmp_path)
    write(tmp_path)
    written = (tmp_path / FILE_NAME).read_text()
    assert "- scaling-400m: not measured; `python -m benchmarks latency --growing`." in written
    assert "Many clients" not in written
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["latency-dark.svg", "latency-light.svg"]


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path)
    for where in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no machine's results"):
            compare(where)


def test_each_machine_has_a_column(two_machines: Path) -> None:
    written = compare(two_machines).read_text()
    assert "| promise | limit | A processor, 1-2 (†) | A processor, 1-3 (†) |" in written
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x (aim 10) | 8 x, met | 4 x, **missed** |" in written
    assert "| int8, 10 beams, beside CTranslate2 int8 | at least 1.8 x | 2 x, met | - |" in written
    assert "| **this project**, int8 | 1.00 s, 8.0 x | 2.00 s, 4.0 x | 2,000 MB |" in written
    assert "| CTranslate2, int8 (*) | 2.00 s, 4.0 x | - | 1,000 MB |" in written
    row = "| **this project**, int8, 10 beams, 1 and 4 clients | 1.10 and 1.40, 1.3 x | 1.10 and 1.40, 1.3 x |"
    assert row in written
    assert "| **this project**, int8, greedy, 1 and 8 clients | 1.10 and 1.80, 1.6 x | - |" in written
    assert f"(a-processor-f1-m3-2-cores/{FILE_NAME})" in written
    for theme in THEMES:
        assert f'"machines-{theme.name}.svg"' in written
        assert ET.parse(two_machines / f"machines-{theme.name}.svg").getroot().tag.endswith("svg")


def test_only_folders_named_after_their_machine_count(two_machines: Path) -> None:
    (two_machines / "short").mkdir()
    samples.write(two_machines / "short")
    (two_machines / "elsewhere-2-cores").mkdir()
    samples.write(two_machines / "elsewhere-2-cores")
    (two_machines / "empty-2-cores").mkdir()
    assert [results.folder.name for results in machines(two_machines)] == [
        "a-processor-f1-m2-2-cores",
        "a-processor-f1-m3-2-cores",
    ]


MACHINES = machines()


@pytest.mark.parametrize("results", MACHINES, ids=lambda results: results.folder.name)
def test_committed_reports_are_those_of_the_committed_results(results: Results) -> None:
    assert (results.folder / FILE_NAME).read_text(encoding="utf-8") == page(results)
    assert {path.name for path in results.folder.glob("*.svg")} == {
        f"{name}-{theme.name}.svg" for name in plots.possible(results) for theme in THEMES
    }


def test_committed_comparison_is_that_of_the_committed_results() -> None:
    assert len(MACHINES) > 1
    assert (FOLDER / FILE_NAME).read_text(encoding="utf-8") == comparison(MACHINES)
    assert all((FOLDER / f"{plots.MACHINES}-{theme.name}.svg").is_file() for theme in THEMES)


@pytest.mark.parametrize(("path", "names"), list(TABLES.items()), ids=lambda value: getattr(value, "name", None))
def test_a_page_shows_the_committed_results(path: Path, names: set[str]) -> None:
    written = path.read_text(encoding="utf-8")
    assert {table["name"] for table in BLOCK.finditer(written)} == names
    assert filled(written) == written


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_figure_changed_by_hand_would_be_found(path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    table = next(BLOCK.finditer(written))
    planted = written[: table.end(1)] + "| made up | 1 |\n" + written[table.start(3) :]
    assert filled(planted) == written
