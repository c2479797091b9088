"""Which exported folder to serve, made now when there is none."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from service.engine import manifest
from service.errors import ModelFolderError

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
DEFAULT_MODEL = "facebook/blenderbot-400M-distill"
DEMO_CHECKPOINT = MODELS / "demo" / "checkpoint"
DEMO_FOLDER = MODELS / "demo-int8"
PRECISIONS = ("int8", "int4", "fp32")


class Provision(NamedTuple):
    """A folder to serve, and why it is not the model that was asked for (empty when it is)."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class ExportFailed(Exception):
    """The export child ended without a folder; `reason` is its last line."""

    reason: str


def provide(model: str, tell: Callable[[str], None]) -> Provision:
    """Find the folder for `--model`, exporting it once when needed.

    Args:
        model: `auto`, `demo`, an exported folder, or a Hub id.
        tell: called with one sentence when something long begins.

    Raises:
        ModelFolderError: there is no such model and none can be made.
    """
    if model == "auto":
        return _automatic(tell)
    if model == "demo":
        return Provision(_demo(tell), "")
    folder = Path(model).expanduser()
    if folder.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        manifest.read(folder)
        return Provision(folder, "")
    try:
        return Provision(_exported(model) or _export(model, tell), "")
    except ExportFailed as failure:
        raise ModelFolderError(failure.reason) from failure


def _automatic(tell: Callable[[str], None]) -> Provision:
    exported = _exported(DEFAULT_MODEL)
    if exported is not None:
        return Provision(exported, "")
    try:
        return Provision(_export(DEFAULT_MODEL, tell), "")
    except ExportFailed as failure:
        reason = f"Serving the demo model instead of {DEFAULT_MODEL}: {failure.reason}"
        return Provision(_demo(tell), reason)


def _exported(model: str) -> Path | None:
    name = model.rsplit("/", 1)[-1]
    candidates = (MODELS / f"{name}-{precision}" for precision in PRECISIONS)
    return next((folder for folder in candidates if (folder / manifest.FILE_NAME).exists()), None)


def _demo(tell: Callable[[str], None]) -> Path:
    if (DEMO_FOLDER / manifest.FILE_NAME).exists():
        return DEMO_FOLDER
    tell("The demo model is being exported; this takes about half a minute, once.")
    try:
        return _run_export(
            ["--model", str(DEMO_CHECKPOINT), "--output-dir", str(DEMO_FOLDER), "--no-verify"], DEMO_FOLDER
        )
    except ExportFailed as failure:
        raise ModelFolderError(failure.reason) from failure


def _export(model: str, tell: Callable[[str], None]) -> Path:
    tell(f"{model} is being looked for on the Hub and exported; this takes some minutes, once.")
    folder = MODELS / f"{model.rsplit('/', 1)[-1]}-int8"
    return _run_export(["--model", model, "--output-dir", str(folder)], folder)


def _run_export(arguments: list[str], folder: Path) -> Path:
    """Run `python -m export` as a child process, its progress on our terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "export", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    last = ""
    try:
        for line in process.stderr:
            last = line.strip() or last
            logger.debug("export: %s", line.rstrip())
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
    if process.wait() != 0:
        raise ExportFailed(last.removeprefix("error: ") or f"the export ended with code {process.returncode}")
    return folder
