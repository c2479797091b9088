"""Exporting the 400M shape: time, memory, size, and that nothing is left over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.accept import folders
from tests.accept.outcome import Line

SECONDS = 180
MEMORY_GB = 7.0
MEGABYTES = {"int8": 450, "int4": 300}


@dataclass(frozen=True)
class Run:
    """One export: seconds of wall time, peak resident bytes of its process, bytes and names of what it wrote."""

    seconds: float
    peak: int
    size: int
    left_over: list[str]


def check() -> list[Line]:
    lines = []
    for precision, megabytes in MEGABYTES.items():
        run = _export(precision)
        size = f"{run.size / 1e6:.0f} MB, left over: {run.left_over or 'nothing'}"
        lines.append(
            Line(f"{precision} folder under {megabytes} MB", size, run.size < megabytes * 1e6 and not run.left_over)
        )
        if precision == "int8":
            lines += [
                Line(f"int8 export within {SECONDS} s", f"{run.seconds:.0f} s", run.seconds <= SECONDS),
                Line(f"within {MEMORY_GB:g} GB", f"{run.peak / 1e9:.1f} GB", run.peak <= MEMORY_GB * 1e9),
            ]
    return lines


def _export(precision: str) -> Run:
    checkpoint = folders.synthetic_checkpoint()
    folder = folders.CACHE / f"400m-{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    before = set(folders.CACHE.iterdir())
    command = [sys.executable, "-m", "export", "--model", str(checkpoint), "--output-dir", str(folder)]
    started = time.monotonic()
    process = subprocess.Popen([*command, "--quantization", precision, "--no-verify"])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise RuntimeError(f"the export of {checkpoint} failed")
    names = {path.name for path in folder.iterdir()}
    listed = {*json.loads((folder / "manifest.json").read_text())["files"], "manifest.json"}
    beside = {path.name for path in set(folders.CACHE.iterdir()) - before - {folder}}
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, peak, _size(folder), sorted((names - listed) | beside))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
