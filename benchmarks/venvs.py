"""Virtual environments for rivals whose libraries do not go together with the project's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import child, environment
from benchmarks.cache import Cache
from benchmarks.errors import RivalError

Progress = Callable[[str], None]


def python_with(requirements: Path, cache: Cache, progress: Progress) -> Path:
    """The interpreter of an environment that holds what `requirements` pins and nothing else; made once.

    torch, where it is asked for, is installed first and by itself: uv, where there is one, knows where its CPU builds
    are; otherwise pip takes the build that the index has.

    Args:
        requirements: file that pins every package, down to the last dependency.

    Raises:
        RivalError: a package cannot be installed.
    """
    pins = requirements.read_text(encoding="utf-8")
    torch = next((line for line in pins.splitlines() if line.startswith("torch==")), None)

    def make(folder: Path) -> None:
        progress(f"installing {requirements.name} (once)")
        _check(child.run([sys.executable, "-m", "venv", "--without-pip", folder]), requirements, "venv")
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            _python(folder),
            "install",
            "--disable-pip-version-check",
        ]
        if torch is not None and not _installed_by_uv(torch, folder):
            _check(child.run([*pip, torch]), requirements, "pip")
        _check(child.run([*pip, "--no-deps", "-r", requirements]), requirements, "pip")

    made_from = {"requirements": pins, "python": environment.versions()["python"]}
    return _python(cache.kept(f"venvs/{requirements.stem}", made_from, make))


def _installed_by_uv(requirement: str, folder: Path) -> bool:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        return False
    return (
        child.run([uv, "pip", "install", "--python", _python(folder), "--torch-backend", "cpu", requirement]).code == 0
    )


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _check(ended: child.Ended, requirements: Path, what: str) -> None:
    if ended.code != 0:
        raise RivalError(f"{requirements.name} cannot be installed: {what} {ended}")
