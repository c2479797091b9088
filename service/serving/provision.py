"""Which exported folder to serve, made now when there is none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from models import manifest
from models.folder import DEFAULT_MODEL, DEMO_CHECKPOINT, MANIFEST, MODELS, PRECISIONS, ModelFolderError, folder_name
from service import libraries

logger = logging.getLogger(__name__)

ROOT = MODELS.parent
POLL_S = 0.2


class Provision(NamedTuple):
    """A folder to serve, and why it is not the model that was asked for (empty when it is)."""

    folder: Path
    reason: str


class Missing(NamedTuple):
    """A model that has to be exported before it can be served.

    Attributes:
        model: `demo` or a Hub id.
        folder: where the export goes; an export of another release that stands there is replaced.
    """

    model: str
    folder: Path

    @property
    def announcement(self) -> str:
        """What is about to happen."""
        if self.model == "demo":
            return "The demo model is being exported; this takes about half a minute, once."
        return f"{self.model} is being looked for on the Hub and exported; this takes some minutes, once."

    @property
    def arguments(self) -> list[str]:
        """Of `python -m export`."""
        force = ["--force"] if manifest.outdated(self.folder) else []
        if self.model == "demo":
            checkpoint = str(DEMO_CHECKPOINT.relative_to(ROOT))
            return ["--model", checkpoint, "--output-dir", str(self.folder), "--no-verify", *force]
        return ["--model", self.model, "--output-dir", str(self.folder), *force]


class ProvisionCancelled(ModelFolderError):
    """The service is being stopped while it waits for its model."""

    def __init__(self) -> None:
        super().__init__("The service was stopped before it had a model.")


class ExportFailed(Exception):
    """The export child ended without a folder; the message is the last error it named."""


class Provider:
    """Finds the folder for `--model`, exporting it once when needed."""

    def __init__(self, announce: Callable[[str], None], models: Path = MODELS, *, quiet: bool = False) -> None:
        """
        Args:
            announce: called with one sentence when something long begins.
            models: folder where exports are looked for, and made.
            quiet: keep the progress of an export off our terminal.
        """
        self._announce = announce
        self._models = models.absolute()
        self._quiet = quiet
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = False

    def provide(self, model: str) -> Provision:
        """Find or make an exported folder.

        Args:
            model: `auto`, `demo`, an exported folder, or a Hub id.

        Raises:
            ModelFolderError: there is no such model and none can be made.
        """
        try:
            return Provision(self._ready(model), "")
        except ExportFailed as failure:
            if model != "auto":
                raise ModelFolderError(str(failure)) from failure
            reason = f"Serving the demo model instead of {DEFAULT_MODEL}: {failure}"
        try:
            return Provision(self._ready("demo"), reason)
        except ExportFailed as failure:
            raise ModelFolderError(str(failure)) from failure

    def cancel(self) -> None:
        """End an export that is under way; it leaves nothing behind."""
        self._cancelled = True
        process = self._process
        if process is not None:
            process.terminate()

    def _ready(self, model: str) -> Path:
        source = find(model, self._models)
        if isinstance(source, Path):
            return source
        with self._alone(source.folder.parent):
            if _usable(source.folder):
                return source.folder
            self._announce(source.announcement)
            try:
                self._run(source.arguments)
            except ExportFailed:
                if not _usable(source.folder):  # where folders cannot be locked, another service may have been faster
                    raise
        return source.folder

    @contextmanager
    def _alone(self, models: Path) -> Iterator[None]:
        """Wait for other services that export into the same folder: one export takes memory enough."""
        with ExitStack() as resources:
            try:
                models.mkdir(parents=True, exist_ok=True)
                folder = os.open(models, os.O_RDONLY)
            except OSError:  # the export says what is wrong with that folder
                yield
                return
            resources.callback(os.close, folder)
            announced = False
            while not _locked(folder):
                if self._cancelled:
                    raise ProvisionCancelled
                if not announced:
                    self._announce("Another service is exporting a model; waiting for it.")
                    announced = True
                time.sleep(POLL_S)
            yield

    def _run(self, arguments: list[str]) -> None:
        """Export with the progress on our terminal, until it is done or `cancel` is called."""

        def on_start(process: subprocess.Popen[str]) -> None:
            self._process = process
            if self._cancelled:
                process.terminate()

        try:
            run_export(arguments, stdout=subprocess.DEVNULL if self._quiet else None, on_start=on_start)
        except ExportFailed:
            if not self._cancelled:
                raise
        finally:
            self._process = None
        if self._cancelled:
            raise ProvisionCancelled


def run_export(
    arguments: Sequence[str],
    *,
    stdout: int | None,
    on_start: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> None:
    """Run `python -m export` in a process of its own, to its end.

    Args:
        arguments: what follows `python -m export`.
        stdout: where its progress goes; None for our own stdout.
        on_start: given the process when it has started.

    Raises:
        ExportFailed: with the last error that it named.
    """
    command = [sys.executable, "-m", "export", *arguments]
    environment = libraries.child_environment()
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except OSError as error:
        raise ExportFailed(
            f"The model cannot be exported by this user: {sys.executable} cannot be run ({error.strerror})."
        ) from error
    with process:
        on_start(process)
        assert process.stderr is not None
        lines = [line.rstrip() for line in process.stderr]
    if process.returncode != 0:
        named = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if not named:
            logger.error("The export failed:\n%s", "\n".join(lines))
        raise ExportFailed(named[-1] if named else f"The export ended with exit code {process.returncode}.")


def find(model: str, models: Path) -> Path | Missing:
    """The exported folder of a model, or what has to be exported first.

    Args:
        model: `auto`, `demo`, an exported folder, or a Hub id.
        models: folder of exported models.

    Raises:
        ModelFolderError: a folder that is none, or one of another model.
    """
    if model == "demo":
        folder = demo_folder(models)
        return folder if _usable(folder) else Missing(model, folder)
    if model == "auto":
        return _exported(DEFAULT_MODEL, models) or Missing(DEFAULT_MODEL, _first_choice(DEFAULT_MODEL, models))
    named = Path(model)
    if named.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        if "/" not in model and not named.exists():
            raise ModelFolderError(
                f"There is no folder {model}; --model takes auto, demo, an exported folder, or a Hub id, which is "
                f"owner/name, such as {DEFAULT_MODEL}."
            )
        manifest.read(named)
        return named
    exported = _exported(model, models)
    if exported is None:
        return Missing(model, _first_choice(model, models))
    source = manifest.read(exported).source
    if source != model:
        raise ModelFolderError(
            f"{exported} was exported from {source}, not from {model}; "
            f"export it elsewhere: python -m export --model {model} --output-dir FOLDER, and serve that folder."
        )
    return exported


def demo_folder(models: Path) -> Path:
    """Where the demo model is exported to; it is named by its content, so that another demo model is exported anew.

    Raises:
        ModelFolderError: the checkpoint cannot be read.
    """
    try:
        records = manifest.record_files(DEMO_CHECKPOINT)
    except OSError as error:
        raise ModelFolderError(
            f"The demo model at {DEMO_CHECKPOINT} cannot be read ({error.strerror}); put that folder back."
        ) from error
    content = sha256("".join(record.sha256 for record in records.values()).encode()).hexdigest()
    folder = _first_choice(str(DEMO_CHECKPOINT), models)
    return folder.with_name(f"{folder.name}-{content[:8]}")


def _locked(folder: int) -> bool:
    """Lock an open folder, until it is closed or its process ends; False while another process has it locked.

    Some network file systems lock no folders; there everyone has it.
    """
    import fcntl

    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _exported(model: str, models: Path) -> Path | None:
    candidates = (models / folder_name(model, precision) for precision in PRECISIONS)
    return next((folder for folder in candidates if _usable(folder)), None)


def _usable(folder: Path) -> bool:
    return (folder / MANIFEST).exists() and not manifest.outdated(folder)


def _first_choice(model: str, models: Path) -> Path:
    return models / folder_name(model, next(iter(PRECISIONS)))
