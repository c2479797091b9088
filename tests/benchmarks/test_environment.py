"""What machines are called."""

from __future__ import annotations

import re

import pytest

from benchmarks.environment import machine, slug
from benchmarks.output import processor, short_processor


@pytest.mark.parametrize(
    ("cpu", "family", "model", "folder", "column", "line"),
    [
        (
            "AMD EPYC",
            "26",
            "2",
            "amd-epyc-f26-m2-2-cores",
            "AMD EPYC, Zen 5",
            "AMD EPYC (Zen 5, family 26, model 2)",
        ),
        (
            "Intel(R) Xeon(R) Platinum 8581C CPU @ 2.10GHz",
            "6",
            "207",
            "intel-xeon-platinum-8581c-f6-m207-2-cores",
            "Intel Xeon Platinum 8581C, Emerald Rapids",
            "Intel Xeon Platinum 8581C (Emerald Rapids, family 6, model 207)",
        ),
        ("aarch64", "", "", "aarch64-2-cores", "aarch64", "aarch64"),
    ],
)
def test_names_of_processors(cpu: str, family: str, model: str, folder: str, column: str, line: str) -> None:
    found = {"cpu": cpu, "cpu_family": family, "cpu_model": model, "cores": 2}
    assert (slug(found), short_processor(found), processor(found)) == (folder, column, line)


def test_this_machine_has_a_name() -> None:
    assert re.fullmatch(r"[\w-]+-[1-9]\d*-cores", slug(machine()))
