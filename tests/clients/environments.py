"""An environment for each client, which holds what its files pin and nothing else; made once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from shutil import copy

from benchmarks.cache import Cache
from benchmarks.venvs import python_with

HERE = Path(__file__).parent
CACHE = Cache(HERE.parents[1] / ".accept" / "clients")
PINS = HERE / "python"
PACKAGES = HERE / "js" / "packages"


def interpreter(client: str) -> Path:
    """The Python that has a client's packages, as `python/<client>.txt` pins them."""
    return _python(PINS / f"{client}.txt")


def node() -> Path:
    """Node.js, as `js/node.txt` pins it."""
    return _python(HERE / "js" / "node.txt").with_name("node")


def packages(client: str) -> Path:
    """A folder with a client's packages from npm, as `js/packages/<client>` pins them.

    Raises:
        RuntimeError: they cannot be installed.
    """
    pins = PACKAGES / client
    tools = node().parent

    def make(folder: Path) -> None:
        print(f"installing the packages of {client} (once)", flush=True)
        folder.mkdir()
        for name in ("package.json", "package-lock.json"):
            copy(pins / name, folder)
        ended = subprocess.run(
            [tools / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"The packages of {client} cannot be installed: {ended.stderr.strip()[-500:]}")

    made_from = {"lock": (pins / "package-lock.json").read_text(encoding="utf-8"), "node": str(tools)}
    return CACHE.get(f"packages/{client}", made_from, make)


def _python(pins: Path) -> Path:
    return python_with(pins, CACHE)
