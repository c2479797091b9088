"""Compiling the kernel library."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.engine.kernels import sources
from service.engine.kernels.library import FILE_NAME, RECORD_NAME

COMPILERS = ("c++", "g++", "clang++")
COMPILE_TIMEOUT_S = 600
# zig compiles for this very machine and for debugging unless it is told otherwise.
ZIG_FLAGS = ("-mcpu=baseline", "-fno-sanitize=undefined")


class BuildFailed(Exception):
    """The library could not be built; the message is one sentence."""


def compiler() -> list[str] | None:
    """The command of the C++ compiler: that of the variable CXX, the system's, or the one in the wheel `ziglang`."""
    if named := shlex.split(os.environ.get("CXX", "")):
        return named
    if path := next(filter(None, map(shutil.which, COMPILERS)), None):
        return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++", *ZIG_FLAGS]
    return None


def build(command: Sequence[str], folder: Path = sources.BUILD) -> None:
    """Compile the library into a folder, whole or not at all.

    Args:
        command: of the compiler.
        folder: made if it is not there.

    Raises:
        BuildFailed: the compiler could not be run or found something wrong, or the folder cannot be written.
    """
    digest = sources.digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch, ThreadPoolExecutor() as pool:

            def compiled(unit: Path) -> str:
                target = f"{scratch}/{unit.stem}.o"
                _run([*command, *sources.FLAGS, "-c", str(unit), "-o", target])
                return target

            library = Path(scratch) / FILE_NAME
            _run([*command, *sources.FLAGS, "-shared", *pool.map(compiled, sources.units()), "-o", str(library)])
            record = {"sources": digest, "sha256": hashlib.sha256(library.read_bytes()).hexdigest()}
            (Path(scratch) / RECORD_NAME).write_text(json.dumps(record) + "\n", encoding="utf-8")
            for name in (FILE_NAME, RECORD_NAME):
                (Path(scratch) / name).replace(folder / name)
    except OSError as error:
        raise BuildFailed(f"{folder} cannot be written ({error.strerror or error}).") from error


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=COMPILE_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise BuildFailed(f"The compiler {command[0]} cannot be run ({error.strerror or error}).") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"The compiler {command[0]} took more than {COMPILE_TIMEOUT_S} s.") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise BuildFailed(f"{' '.join(command[:3])} failed: {first.strip()[:300]}")
