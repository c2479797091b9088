"""Exporting the 400M shape with little memory: time, peak, size, and that nothing is left over."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.accept import folders
from tests.accept.measured import line_of
from tests.accept.outcome import Line

VERIFIED_GB = 2.5
LIMIT_BYTES = 3_000_000_000


@dataclass(frozen=True)
class Run:
    """One export: seconds of wall time, peak resident bytes of its processes, bytes and names of what it wrote."""

    seconds: float
    peak: int
    size: int
    left_over: list[str]


def check() -> list[Line]:
    lines = []
    for precision in ("int8", "int4"):
        run = _export(precision)
        left_over = ", ".join(run.left_over) or "nothing"
        lines += [
            line_of(f"{precision} folder", run.size / 1e6),
            Line(f"{precision} export: nothing is left over", left_over, not run.left_over),
        ]
        if precision == "int8":
            verified = _export(precision, verify=True)
            lines += [
                line_of("export to int8: time", run.seconds),
                line_of("export to int8: memory", run.peak / 1e9),
                Line(
                    f"compared with torch within {VERIFIED_GB:g} GB",
                    f"{verified.peak / 1e9:.2f} GB",
                    verified.peak <= VERIFIED_GB * 1e9,
                ),
            ]
    return lines


def _export(precision: str, *, verify: bool = False) -> Run:
    """Export in a process that may have `LIMIT_BYTES` of data."""
    checkpoint = folders.synthetic_checkpoint()
    folder = folders.CACHE / f"400m-{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    before = set(folders.CACHE.iterdir())
    command = [sys.executable, "-m", "export", "--model", str(checkpoint), "--output-dir", str(folder)]
    started = time.monotonic()
    process = psutil.Popen(
        [*command, "--quantization", precision, "--verify" if verify else "--no-verify"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES)),
    )
    peak = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, sum(one.memory_info().rss for one in (process, *process.children(recursive=True))))
        time.sleep(0.05)
    seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"the export of {checkpoint} failed")
    names = {path.name for path in folder.iterdir()}
    listed = {*json.loads((folder / "manifest.json").read_text())["files"], "manifest.json"}
    beside = {path.name for path in set(folders.CACHE.iterdir()) - before - {folder}}
    return Run(seconds, peak, _size(folder), sorted((names - listed) | beside))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
