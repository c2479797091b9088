"""The two folders that are compared: those the user names, or synthetic ones made in the cache."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError, InputError
from benchmarks.process import PROJECT
from benchmarks.synthetic import BLENDERBOT_400M, Shape, is_synthetic, write_checkpoint

CACHE = Path(__file__).resolve().parent / ".cache"
EXPORTED_FILES = ("config.json", "generation_config.json", "encoder_model.onnx", "decoder_model_merged.onnx")
EXPORT_DEADLINE_S = 15.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Models:
    """A checkpoint and its export.

    Attributes:
        source: what the checkpoint is called in reports: a Hub id, or the name of a folder.
        checkpoint: folder that `BlenderbotForConditionalGeneration` loads.
        exported: folder that `ORTModelForSeq2SeqLM` loads.
        precision: precision of the exported weights, as in its manifest; "" when it has none.
        random_weights: what the model says means nothing.
        positions: longest source and longest reply, in tokens.
    """

    source: str
    checkpoint: Path
    exported: Path
    precision: str
    random_weights: bool
    positions: int


def named_models(checkpoint: str, exported: Path) -> Models:
    """The models that the user names: a folder or a Hub id, and the folder of its export.

    Raises:
        InputError: one of them is not there or is not what it should be.
    """
    exported = exported.expanduser()
    if not exported.is_dir():
        raise InputError(f"There is no folder {exported}; --exported takes what `python -m export` wrote.")
    missing = next((name for name in EXPORTED_FILES if not (exported / name).is_file()), None)
    if missing is not None:
        raise InputError(f"{exported} is not an exported model: it holds no {missing}.")
    folder = _located(checkpoint)
    return _models(folder.resolve().name if Path(checkpoint).is_dir() else checkpoint, folder, exported)


def cached_models(progress: Progress, cache: Path = CACHE, shape: Shape = BLENDERBOT_400M) -> Models:
    """A synthetic checkpoint and its int8 export, made in the cache folder unless they are there already.

    A new checkpoint is exported anew, so that the two always belong together.

    Raises:
        BenchmarkError: one of them cannot be made.
    """
    checkpoint, exported = cache / "synthetic-400m", cache / "synthetic-400m-int8"
    if not (checkpoint / "config.json").is_file():
        progress(f"making a synthetic checkpoint in {checkpoint}")
        write_checkpoint(checkpoint, force=True, shape=shape, progress=progress)
        (cache / ".gitignore").write_text("*\n", encoding="utf-8")
        _export(checkpoint, exported, progress)
    elif not all((exported / name).is_file() for name in EXPORTED_FILES):
        _export(checkpoint, exported, progress)
    return _models("synthetic, in the shape of facebook/blenderbot-400M-distill", checkpoint, exported)


def _models(source: str, checkpoint: Path, exported: Path) -> Models:
    manifest = exported / "manifest.json"
    try:
        positions = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
        quantization = json.loads(manifest.read_text(encoding="utf-8"))["quantization"] if manifest.is_file() else {}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The configuration of {checkpoint} or {exported} cannot be read ({error}).") from error
    precision = quantization.get("precision", "")
    return Models(source, checkpoint, exported, precision, is_synthetic(checkpoint), positions)


def _located(checkpoint: str) -> Path:
    from export.checkpoint import locate
    from export.errors import ExportError, HubUnreachable

    if checkpoint.startswith((".", "~", "/")) and not Path(checkpoint).expanduser().is_dir():
        raise InputError(f"There is no folder {checkpoint}; --checkpoint takes a folder or a Hub id.")
    try:
        return locate(checkpoint, None).path
    except HubUnreachable as error:
        raise InputError(
            f"{checkpoint} cannot be had from the Hub; name a local folder with --checkpoint, or leave out "
            "--checkpoint and --exported to measure a synthetic model."
        ) from error
    except ExportError as error:
        raise InputError(str(error).replace("--model", "--checkpoint")) from error


def _export(checkpoint: Path, exported: Path, progress: Progress) -> None:
    """Run `python -m export` as a child, which shows its own progress; it ends when this process is interrupted."""
    command = [sys.executable, "-m", "export", "--model", str(checkpoint), "--quantization", "int8", "--no-verify"]
    progress(f"exporting it to {exported}")
    child = subprocess.Popen(
        [*command, "--output-dir", str(exported), "--force"], cwd=PROJECT, stdout=sys.stderr, start_new_session=True
    )
    try:
        code = child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(EXPORT_DEADLINE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    if code != 0:
        raise BenchmarkError(f"The export of {checkpoint} failed with exit code {code}.")
