"""The checkpoint that is measured and its exports: those the user names, or made in the cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import child, environment, synthetic
from benchmarks.cache import Cache, fingerprint
from benchmarks.cost import Cost
from benchmarks.errors import BenchmarkError, InputError
from benchmarks.synthetic import BLENDERBOT_400M, Shape, is_synthetic, write_checkpoint

EXPORTED_FILES = (
    "encoder_model.onnx",
    "decoder_model_merged.onnx",
    "cross_states.onnx",
    "decoder_step.onnx",
    "config.json",
    "generation_config.json",
    "manifest.json",
)
# What `python -m export --quantization` calls the precisions that contestants are named by.
QUANTIZATIONS = {"fp32": "none", "int8": "int8", "int4": "int4"}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Checkpoint:
    """What is measured.

    Attributes:
        name: short name, for folders made from it.
        source: what it is called in reports: a Hub id, or the name of a folder.
        folder: folder that `BlenderbotForConditionalGeneration` loads.
        random_weights: what the model says means nothing.
        positions: longest source and longest reply, in tokens.
    """

    name: str
    source: str
    folder: Path
    random_weights: bool
    positions: int

    @cached_property
    def fingerprint(self) -> str:
        """Of all its files."""
        return fingerprint([self.folder])


def named_checkpoint(name: str) -> Checkpoint:
    """The checkpoint in a folder or on the Hub.

    Raises:
        InputError: it is not there, or is not what it should be.
    """
    folder = _located(name)
    if not Path(name).expanduser().is_dir():
        return _checkpoint(name.rsplit("/", 1)[-1], name, folder)
    path = folder.resolve()
    short = path.parent.name if path.name == "checkpoint" else path.name
    return _checkpoint(short, short, folder)


def synthetic_checkpoint(cache: Cache, progress: Progress, shape: Shape = BLENDERBOT_400M) -> Checkpoint:
    """A checkpoint with random weights, made in the cache unless it is there already.

    Raises:
        BenchmarkError: it cannot be made.
    """

    def make(folder: Path) -> None:
        progress(f"making a synthetic checkpoint in {folder}")
        write_checkpoint(folder, shape=shape, progress=progress)

    made_from = {"shape": asdict(shape), "recipe": fingerprint([Path(synthetic.__file__)])}
    folder = cache.kept("models/synthetic-400m", made_from, make)
    return _checkpoint("synthetic-400m", "synthetic, in the shape of facebook/blenderbot-400M-distill", folder)


def named_export(folder: Path) -> str:
    """The precision of the weights in an exported folder: a key of `QUANTIZATIONS`.

    Raises:
        InputError: the folder is not there, or is not what `python -m export` writes.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; --exported takes what `python -m export` wrote.")
    missing = next((name for name in EXPORTED_FILES if not (folder / name).is_file()), None)
    if missing is not None:
        raise InputError(f"{folder} is not an exported model: it holds no {missing}.")
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["quantization"]["precision"]
        return next(precision for precision, name in QUANTIZATIONS.items() if name == found)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise InputError(f"{folder / 'manifest.json'} does not tell the precision of the weights.") from error


def cached_export(checkpoint: Checkpoint, precision: str, cache: Cache, progress: Progress) -> Path:
    """The checkpoint exported by `python -m export`, once for each state of the checkpoint and of the exporter.

    Raises:
        BenchmarkError: the export failed, and has said why.
    """

    def make(folder: Path) -> None:
        progress(f"exporting {checkpoint.name} to {folder}")
        command = (sys.executable, "-m", "export", "--model", checkpoint.folder, "--output-dir", folder, "--no-verify")
        ended = child.run([*command, "--quantization", QUANTIZATIONS[precision]], shown=True)
        if ended.code != 0:
            raise BenchmarkError(f"The export of {checkpoint.folder} {ended}.")
        Cost.of(folder, ended).write(folder)

    exporter = fingerprint(sorted((child.PROJECT / "export").glob("*.py")))
    made_from = {"checkpoint": checkpoint.fingerprint, "exporter": exporter, "versions": environment.versions()}
    return cache.kept(f"models/{checkpoint.name}-{precision}", made_from, make)


def _checkpoint(name: str, source: str, folder: Path) -> Checkpoint:
    try:
        positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The configuration of {folder} cannot be read ({error}).") from error
    return Checkpoint(name, source, folder, is_synthetic(folder), positions)


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
            "--checkpoint to measure a synthetic model."
        ) from error
    except ExportError as error:
        raise InputError(str(error).replace("--model", "--checkpoint")) from error
