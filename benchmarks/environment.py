"""The machine and the versions that figures were taken on."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.engine.machine import available_cores

# Those that matter for matrix products.
CPU_FLAGS = re.findall(
    r"\w+",
    "avx2 fma f16c avx512f avx512bw avx512_vnni avx_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16 asimddp "
    "i8mm bf16 sve",
)
PACKAGES = re.findall(
    r"[\w-]+",
    "torch transformers tokenizers optimum optimum-onnx onnxruntime onnx openvino optimum-intel nncf ctranslate2 numpy",
)
# By processor family and model.
MICROARCHITECTURES = {
    ("25", "17"): "Zen 4",
    ("26", "2"): "Zen 5",
    ("6", "143"): "Sapphire Rapids",
    ("6", "207"): "Emerald Rapids",
}


@dataclass(frozen=True)
class Machine:
    """Processor, those of its flags that matter for matrix products, usable cores, memory, operating system, load."""

    cpu: str
    cpu_family: str
    cpu_model: str
    cpu_flags: tuple[str, ...]
    architecture: str
    cores: int
    logical_cpus: int
    memory_bytes: int
    os: str
    load_average: tuple[float, ...]

    @property
    def name(self) -> str:
        """The processor's name without what all names contain."""
        return " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", self.cpu).split())

    @property
    def folder(self) -> str:
        """A folder name for machines of this kind: processor, its family and model, cores."""
        kind = [f"{letter}{number}" for letter, number in (("f", self.cpu_family), ("m", self.cpu_model)) if number]
        return re.sub(r"\W+", "-", " ".join([self.name.lower(), *kind, f"{self.cores} cores"]))

    @property
    def short_name(self) -> str:
        """Name and kind of the processor, for the head of a column: its microarchitecture, or else its numbers, with
        AMX named, since a hypervisor may give any numbers."""
        numbers = (self.cpu_family, self.cpu_model)
        if microarchitecture := MICROARCHITECTURES.get(numbers):
            return f"{self.name}, {microarchitecture}"
        amx = "AMX" if "amx_int8" in self.cpu_flags else ""
        return ", ".join(filter(None, [self.name, amx, "-".join(filter(None, numbers))]))

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.0f} GiB"
        return f"{self.short_name}, {self.cores} cores, {memory}, {self.os}, {' '.join(self.cpu_flags)}"


def this_machine() -> Machine:
    """The machine that this runs on, and its load now."""
    cpus = _cpu_info()
    cpu = cpus[0] if cpus else {}
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return Machine(
        cpu=cpu.get("model name") or platform.processor() or platform.machine(),
        cpu_family=cpu.get("cpu family", ""),
        cpu_model=cpu.get("model", ""),
        cpu_flags=tuple(flag for flag in CPU_FLAGS if flag in flags),
        architecture=platform.machine(),
        cores=usable_cores(),
        logical_cpus=available_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        os=f"{platform.system()} {platform.release()}",
        load_average=tuple(round(load, 2) for load in os.getloadavg()),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are installed here."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def usable_cores() -> int:
    """Physical cores that this process may run on; logical processors where the system does not tell."""
    usable = available_cores()
    cores = {(cpu.get("physical id"), cpu.get("core id")) for cpu in _cpu_info() if "core id" in cpu}
    return min(len(cores), usable) if cores else usable


def _cpu_info() -> list[dict[str, str]]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    blocks = path.read_text(encoding="utf-8", errors="replace").strip().split("\n\n")
    pairs = [[line.partition(":") for line in block.splitlines()] for block in blocks]
    return [{name.strip(): value.strip() for name, _, value in block} for block in pairs]
