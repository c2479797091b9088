"""Several machines on one page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.commands.report import compare, write
from benchmarks.errors import InputError
from benchmarks.evidence.comparison import read_machines
from benchmarks.evidence.page import FILE_NAME
from benchmarks.evidence.plots import THEMES
from tests.benchmarks.evidence import samples


def of_a_machine(folder: Path, model: str) -> Path:
    """Results of a machine, in a folder of its name."""
    mine = folder / f"a-processor-f1-m{model}-2-cores"
    mine.mkdir()
    for path in samples.write(mine).iterdir():
        part = json.loads(path.read_text())
        part["machine"]["cpu_model"] = model
        path.write_text(json.dumps(part))
    return mine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    slower = of_a_machine(tmp_path, "3")
    of_a_machine(tmp_path, "2")
    (slower / "load-greedy-400m.json").unlink()
    latency = json.loads((slower / "latency-400m.json").read_text())
    for result in latency["results"]:
        result["backends"] = [row for row in result["backends"] if row["label"] != "ctranslate2-int8"]
        for row in result["backends"]:
            if row["label"] == "ours-int8":
                row |= {"seconds": [2.0, 2.5], "peak_bytes": 2 * 10**9}
    (slower / "latency-400m.json").write_text(json.dumps(latency))
    return tmp_path


def test_each_machine_has_a_column(folder: Path) -> None:
    text = compare(folder).read_text()
    assert "| promise | target | A processor, 1-2 | A processor, 1-3 |" in text
    assert "| int8, 10 beams, beside torch fp32 | at least 7 x (aim 10) | 8 x, met | 4 x, **missed** |" in text
    assert "| int8, 10 beams, beside CTranslate2 int8 | at least 1.8 x | 2 x, met | - |" in text
    assert "| **this project**, int8 | 1.00 s, 8.0 x | 2.00 s, 4.0 x | 2,000 MB |" in text
    assert "| CTranslate2, int8 (*) | 2.00 s, 4.0 x | - | 1,000 MB |" in text
    assert "| **this project**, int8, 10 beams, 1 and 4 clients | 1.10 and 1.40, 1.3 x | 1.10 and 1.40, 1.3 x |" in text
    assert "| **this project**, int8, greedy, 1 and 8 clients | 1.10 and 1.80, 1.6 x | - |" in text
    assert f"(a-processor-f1-m3-2-cores/{FILE_NAME})" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_picture_is_there_for_light_and_dark_pages(folder: Path) -> None:
    text = compare(folder).read_text()
    for theme in THEMES:
        assert f'"machines-{theme.name}.svg"' in text
        assert ET.parse(folder / f"machines-{theme.name}.svg").getroot().tag.endswith("svg")


def test_only_folders_named_after_their_machine_count(folder: Path) -> None:
    (folder / "short").mkdir()
    samples.write(folder / "short")
    mixed = json.loads((folder / "short" / "load-400m.json").read_text())
    mixed["machine"]["cores"] = 4
    (folder / "short" / "load-400m.json").write_text(json.dumps(mixed))
    (folder / "empty").mkdir()
    assert [results.folder.name for results in read_machines(folder)] == [
        "a-processor-f1-m2-2-cores",
        "a-processor-f1-m3-2-cores",
    ]


def test_each_folder_has_a_report_of_its_own(folder: Path) -> None:
    for results in read_machines(folder):
        assert "# Measurements" in write(results.folder).read_text()


def test_folder_without_machines_is_refused(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no machine's results"):
            compare(where)
