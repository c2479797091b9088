"""Virtual environments for rivals whose libraries do not go together with the project's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks import process
from benchmarks.cache import Cache
from benchmarks.environment import versions
from benchmarks.errors import RivalError
from benchmarks.output import progress


def python_with(requirements: Path, cache: Cache) -> Path:
    """The interpreter of an environment in the cache that holds what `requirements` pins and nothing else; made once.

    torch, where it is asked for, is installed first and by itself: uv, where there is one, knows where its CPU builds
    are; otherwise pip takes the build that the index has. A `RivalError` says that a package cannot be installed.
    """
    pins = requirements.read_text(encoding="utf-8")
    torch = next((line for line in pins.splitlines() if line.startswith("torch==")), None)

    def run(*command: str | Path) -> None:
        ending = process.run(command)
        if ending.code != 0:
            raise RivalError(f"{requirements.name} cannot be installed: {command[2]} {ending}")

    def make(folder: Path) -> None:
        progress(f"installing {requirements.name} (once)")
        python = folder / "bin" / "python"
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        pip = (sys.executable, "-m", "pip", "--python", python, "install", "--disable-pip-version-check")
        if torch is not None and not _installed_by_uv(torch, python):
            run(*pip, torch)
        run(*pip, "--no-deps", "-r", requirements)

    made_from = {"requirements": pins, "python": versions()["python"]}
    return cache.get(f"venvs/{requirements.stem}", made_from, make) / "bin" / "python"


def _installed_by_uv(requirement: str, python: Path) -> bool:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    command = ("pip", "install", "--python", python, "--torch-backend", "cpu", requirement)
    return uv is not None and process.run([uv, *command]).code == 0
