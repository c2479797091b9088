"""Which exported folder to serve, made now when there is none."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
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


class ExportFailed(Exception):
    """The export child ended without a folder; the message is the last error it named."""


class Provider:
    """Finds the folder for `--model`, exporting it once when needed."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """
        Args:
            tell: called with one sentence when something long begins.
        """
        self._tell = tell
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = False

    def provide(self, model: str) -> Provision:
        """Find or make an exported folder.

        Args:
            model: `auto`, `demo`, an exported folder, or a Hub id.

        Raises:
            ModelFolderError: there is no such model and none can be made.
        """
        if model == "auto":
            return self._automatic()
        if model == "demo":
            return Provision(self._demo(), "")
        folder = Path(model).expanduser()
        if folder.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
            manifest.read(folder)
            return Provision(folder, "")
        exported = _exported(model)
        if exported is not None:
            source = manifest.read(exported).source
            if source != model:
                raise ModelFolderError(
                    f"{exported} was exported from {source}, not from {model}; "
                    f"export it elsewhere: python -m export --model {model} --output-dir FOLDER, and serve that folder."
                )
            return Provision(exported, "")
        try:
            return Provision(self._export(model), "")
        except ExportFailed as failure:
            raise ModelFolderError(str(failure)) from failure

    def cancel(self) -> None:
        """End an export that is under way; it leaves nothing behind."""
        self._cancelled = True
        process = self._process
        if process is not None:
            process.terminate()

    def _automatic(self) -> Provision:
        exported = _exported(DEFAULT_MODEL)
        if exported is not None:
            return Provision(exported, "")
        try:
            return Provision(self._export(DEFAULT_MODEL), "")
        except ExportFailed as failure:
            return Provision(self._demo(), f"Serving the demo model instead of {DEFAULT_MODEL}: {failure}")

    def _demo(self) -> Path:
        if not (DEMO_FOLDER / manifest.FILE_NAME).exists():
            self._tell("The demo model is being exported; this takes about half a minute, once.")
            try:
                self._run(
                    ["--model", str(DEMO_CHECKPOINT.relative_to(ROOT)), "--output-dir", str(DEMO_FOLDER), "--no-verify"]
                )
            except ExportFailed as failure:
                if not (DEMO_FOLDER / manifest.FILE_NAME).exists():  # another service may have been faster
                    raise ModelFolderError(str(failure)) from failure
        return DEMO_FOLDER

    def _export(self, model: str) -> Path:
        self._tell(f"{model} is being looked for on the Hub and exported; this takes some minutes, once.")
        folder = MODELS / f"{model.rsplit('/', 1)[-1]}-int8"
        self._run(["--model", model, "--output-dir", str(folder)])
        return folder

    def _run(self, arguments: list[str]) -> None:
        """Run `python -m export` as a child process, its progress on our terminal."""
        command = [sys.executable, "-m", "export", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            self._process = process
            if self._cancelled:
                process.terminate()
            assert process.stderr is not None
            lines = [line.rstrip() for line in process.stderr]
        self._process = None
        if self._cancelled:
            raise ModelFolderError("The service was stopped before it had a model.")
        if process.returncode != 0:
            said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            if not said:
                logger.error("The export failed:\n%s", "\n".join(lines))
            raise ExportFailed(said[-1] if said else f"The export ended with exit code {process.returncode}.")


def _exported(model: str) -> Path | None:
    name = model.rsplit("/", 1)[-1]
    candidates = (MODELS / f"{name}-{precision}" for precision in PRECISIONS)
    return next((folder for folder in candidates if (folder / manifest.FILE_NAME).exists()), None)
