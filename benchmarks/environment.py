"""The machine and the versions that figures were taken on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.engine.machine import available_cores

CPU_FLAGS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "optimum",
    "optimum-onnx",
    "onnxruntime",
    "onnx",
    "openvino",
    "optimum-intel",
    "nncf",
    "ctranslate2",
    "numpy",
)


def machine() -> dict[str, Any]:
    """Processor, its flags that matter for matrix products, cores, memory (bytes), operating system, load."""
    cpu = _cpu_info()
    return {
        "cpu": _first(cpu, "model name") or platform.processor() or platform.machine(),
        "cpu_family": _first(cpu, "cpu family"),
        "cpu_model": _first(cpu, "model"),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in _flags(cpu)],
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "logical_cpus": available_cores(),
        "memory_bytes": _memory_bytes(),
        "os": f"{platform.system()} {platform.release()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def slug(machine: dict[str, Any]) -> str:
    """A name for machines of this kind that can be a folder's: processor, its family and model, cores."""
    kind = [f"{letter}{machine[name]}" for letter, name in (("f", "cpu_family"), ("m", "cpu_model")) if machine[name]]
    return re.sub(r"\W+", "-", " ".join([cpu_name(machine).lower(), *kind, f"{machine['cores']} cores"]))


def cpu_name(machine: dict[str, Any]) -> str:
    """The processor's name without what all names have."""
    return " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", machine["cpu"]).split())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are installed here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """Physical cores that this process may run on; logical processors where the system does not tell."""
    usable = available_cores()
    cores = {(entry.get("physical id"), entry.get("core id")) for entry in _cpu_info() if "core id" in entry}
    return min(len(cores), usable) if cores else usable


def _cpu_info() -> list[dict[str, str]]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    entries = path.read_text(encoding="utf-8", errors="replace").strip().split("\n\n")
    pairs = [[line.partition(":") for line in entry.splitlines()] for entry in entries]
    return [{name.strip(): value.strip() for name, _, value in entry} for entry in pairs]


def _first(cpu: list[dict[str, str]], name: str) -> str:
    return next((entry[name] for entry in cpu if name in entry), "")


def _flags(cpu: list[dict[str, str]]) -> set[str]:
    return set((_first(cpu, "flags") or _first(cpu, "Features")).split())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
