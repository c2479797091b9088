from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.commands.report import RESULTS, write
from benchmarks.errors import InputError
from benchmarks.evidence import capacity, plots
from benchmarks.evidence.comparison import comparison, read_machines
from benchmarks.evidence.page import FILE_NAME, page
from benchmarks.evidence.plots import PICTURES, THEMES
from benchmarks.evidence.results import Results
from benchmarks.evidence.targets import targets
from tests.benchmarks.evidence import samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = samples.write(tmp_path_factory.mktemp("results"))
    write(found)
    return found


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / FILE_NAME).read_text()


def test_targets_are_met_or_missed_with_the_measured_ratio(folder: Path) -> None:
    found = {target.promise: target for target in targets(Results.read(folder))}
    torch = found["int8, 10 beams, beside torch fp32"]
    assert (torch.figure, torch.verdict) == ("8 x", "met")
    stock = found["int8, 10 beams, beside stock Optimum dynamic int8"]
    assert (stock.figure, stock.verdict) == ("1.5 x", "**missed**")
    assert found["int8, 10 beams, beside OpenVINO int8"].verdict == "not measured"
    assert found["8 greedy clients beside one"].verdict == "**missed**"
    assert found["4 clients beside the tutorial's app"].verdict == "met"
    assert found["serving int8 at 10 beams: memory"].verdict == "**missed**"
    assert found["int4: same first choice as fp32"].verdict == "**missed**"
    assert found["export to int8: time"].figure == "55 s"


def test_page_shows_figures_noise_and_what_is_missing(text: str) -> None:
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x (aim 10) | 8 x | met |" in text
    assert "| **this project**, int8 | 1.000 | 1.500 | 1.900 | 16.7 | 2.1 | 8 (8-8) | 1 (1-1) | 1,000 |" in text
    assert "| OpenVINO, int8 weights | missing, see below |" in text
    assert "- openvino-int8 (latency-400m): openvino.txt cannot be installed: pip ended with exit code 1." in text
    assert (
        "within 12.0% of 1 in the middle half of the rounds, after 3 attempts; **too noisy** (more than 10%)." in text
    )
    assert "CTranslate2, int8 runs without encoder_no_repeat_ngram_size. It runs another model: a BART." in text
    assert "30.0 GB/s" in text
    assert "| **this project**, int8 | 1.0002 | 2.00e-04 | 4.00e-03 | 99.15% | 90.0% of 50 | 97.5 |" in text
    assert "not measured" in text  # targets of rivals that are missing


def test_tables_are_whole(text: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
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
    text = (tmp_path / FILE_NAME).read_text()
    assert "- scaling-400m: not measured; `python -m benchmarks scaling`." in text
    assert "throughput" not in text
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["latency-dark.svg", "latency-light.svg"]


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        write(tmp_path)


MACHINES = read_machines(RESULTS)


@pytest.mark.parametrize("results", MACHINES, ids=lambda results: results.folder.name)
def test_committed_reports_are_those_of_the_committed_results(results: Results) -> None:
    drawn = [name for name, (_, enough) in PICTURES.items() if enough(results)]
    assert (results.folder / FILE_NAME).read_text(encoding="utf-8") == page(results, drawn)
    assert {path.name for path in results.folder.glob("*.svg")} == {
        f"{name}-{theme.name}.svg" for name in drawn for theme in THEMES
    }
    planned, written = capacity.capacity_page(results), results.folder / capacity.FILE_NAME
    assert (written.read_text(encoding="utf-8") if written.is_file() else None) == planned


def test_committed_comparison_is_that_of_the_committed_results() -> None:
    assert len(MACHINES) > 1
    assert (RESULTS / FILE_NAME).read_text(encoding="utf-8") == comparison(MACHINES, plots.MACHINES)
    assert all((RESULTS / f"{plots.MACHINES}-{theme.name}.svg").is_file() for theme in THEMES)
