"""What machines are called, and what is installed on this one."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import pytest

from benchmarks.environment import CPU_FLAGS, Machine, this_machine, versions


def machine(cpu: str, family: str, model: str) -> Machine:
    return Machine(cpu, family, model, ("avx2",), "x86_64", 2, 2, 24 * 2**30, "Linux 6.1", (0.0,))


@pytest.mark.parametrize(
    ("cpu", "family", "model", "folder", "name"),
    [
        ("AMD EPYC", "26", "2", "amd-epyc-f26-m2-2-cores", "AMD EPYC, Zen 5"),
        (
            "Intel(R) Xeon(R) Platinum 8581C CPU @ 2.10GHz",
            "6",
            "207",
            "intel-xeon-platinum-8581c-f6-m207-2-cores",
            "Intel Xeon Platinum 8581C, Emerald Rapids",
        ),
        ("A processor", "1", "2", "a-processor-f1-m2-2-cores", "A processor, 1-2"),
        ("aarch64", "", "", "aarch64-2-cores", "aarch64"),
    ],
)
def test_names_of_processors(cpu: str, family: str, model: str, folder: str, name: str) -> None:
    named = machine(cpu, family, model)
    assert (named.folder, named.short_name) == (folder, name)
    assert str(named) == f"{name}, 2 cores, 24 GiB, Linux 6.1, avx2"


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        (("6", "167"), "Intel Xeon, AMX, 6-167"),
        (("", ""), "Intel Xeon, AMX"),
        (("6", "207"), "Intel Xeon, Emerald Rapids"),
    ],
)
def test_amx_is_named_where_the_numbers_say_nothing(numbers: tuple[str, str], name: str) -> None:
    named = replace(machine("Intel(R) Xeon(R) Processor", *numbers), cpu_flags=("avx2", "amx_int8"))

    assert named.short_name == name


def test_this_machine_has_a_name_and_versions() -> None:
    here = this_machine()
    assert re.fullmatch(r"[\w-]+-[1-9]\d*-cores", here.folder)
    assert here.cores >= 1
    assert here.memory_bytes > 2**28
    assert set(here.cpu_flags) <= set(CPU_FLAGS)
    assert json.dumps(asdict(here))
    assert {"python", "torch", "onnxruntime", "transformers"} <= versions().keys()
