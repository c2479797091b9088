"""The checkpoint that is measured and its exports: those the user names, or made in the cache."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.cache import Cache, fingerprint
from benchmarks.engines import IMMATERIAL
from benchmarks.environment import versions
from benchmarks.errors import BenchmarkError, InputError
from benchmarks.output import progress
from benchmarks.process import PROJECT, Ending
from models import manifest, synthetic
from models.folder import MANIFEST
from models.synthetic import BLENDERBOT_400M, Shape, is_synthetic, write_checkpoint

# What `python -m export --quantization` calls the precisions that contestants are named by.
QUANTIZATIONS = {"fp32": "none", "int8": "int8", "int4": "int4"}
GENERATION_CONFIG = "generation_config.json"
# They would win over the lengths that are set here.
OTHER_LENGTHS = ("max_new_tokens", "min_new_tokens")


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
    """The checkpoint in a folder or on the Hub; an `InputError` says that it is not there, or not what it should be."""
    folder = _located(name)
    if not Path(name).expanduser().is_dir():
        return _checkpoint(name.rsplit("/", 1)[-1], name, folder)
    path = folder.resolve()
    short = path.parent.name if path.name == "checkpoint" else path.name
    return _checkpoint(short, short, folder)


def synthetic_checkpoint(cache: Cache, shape: Shape = BLENDERBOT_400M) -> Checkpoint:
    """A checkpoint with random weights, made in the cache unless it is there already."""

    def make(folder: Path) -> None:
        progress(f"making a synthetic checkpoint in {folder}")
        write_checkpoint(folder, shape=shape, progress=progress)

    made_from = {"shape": asdict(shape), "recipe": fingerprint([Path(synthetic.__file__)])}
    folder = cache.get("models/synthetic-400m", made_from, make)
    return _checkpoint("synthetic-400m", "synthetic, in the shape of facebook/blenderbot-400M-distill", folder)


def named_export(folder: Path) -> str:
    """The precision of the weights in an exported folder, of `QUANTIZATIONS`; an `InputError` if it is none."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; --exported takes what `python -m export` wrote.")
    if not path.is_file():
        raise InputError(f"{folder} is not an exported model: it holds no {path.name}.")
    try:
        quantization = json.loads(path.read_text(encoding="utf-8"))["quantization"]["precision"]
        return next(precision for precision, name in QUANTIZATIONS.items() if name == quantization)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise InputError(f"{path} does not tell the precision of the weights.") from error


def cached_export(checkpoint: Checkpoint, precision: str, cache: Cache) -> Path:
    """The checkpoint exported by `python -m export`, once for each state of the checkpoint and of the exporter."""

    def make(folder: Path) -> None:
        progress(f"exporting {checkpoint.name} to {folder}")
        command = (sys.executable, "-m", "export", "--model", checkpoint.folder, "--output-dir", folder, "--no-verify")
        ending = process.run([*command, "--quantization", QUANTIZATIONS[precision]], show=True)
        if ending.code != 0:
            raise BenchmarkError(f"The export of {checkpoint.folder} {ending}.")
        write_cost(folder, ending)

    exporter = fingerprint(sorted((PROJECT / "export").glob("*.py")))
    made_from = {"checkpoint": checkpoint.fingerprint, "exporter": exporter, "versions": versions()}
    return cache.get(f"models/{checkpoint.name}-{precision}", made_from, make)


def write_cost(folder: Path, ending: Ending) -> None:
    """Note beside a folder what the program that made it took."""
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    cost = {"seconds": ending.seconds, "peak_bytes": ending.peak_bytes, "size_bytes": size_bytes}
    cost_path(folder).write_text(json.dumps(cost) + "\n", encoding="utf-8")


def cost_path(folder: Path) -> Path:
    """Where `write_cost` notes it, as a JSON object of `seconds`, `peak_bytes` and `size_bytes`."""
    return folder.with_name(f"{folder.name}.cost.json")


def decoding(folder: Path) -> dict[str, Any]:
    """The settings of a model folder that differ from the defaults of transformers and matter to the tokens."""
    from transformers import AutoConfig, GenerationConfig

    if (folder / GENERATION_CONFIG).is_file():
        settings = GenerationConfig.from_pretrained(folder)
    else:
        settings = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    return {name: value for name, value in settings.to_diff_dict().items() if name not in IMMATERIAL}


def fixed_length(exported: Path, beams: int, new_tokens: int, cache: Cache) -> Path:
    """A copy, in the cache, of an exported folder that gives every reply so many tokens, `</s>` included."""
    length = new_tokens + 1  # transformers counts the decoder's start token
    changes = {"num_beams": beams, "min_length": length, "max_length": length}

    def make(folder: Path) -> None:
        shutil.copytree(exported, folder)
        path = folder / GENERATION_CONFIG
        settings = json.loads(path.read_text(encoding="utf-8"))
        others = {name: value for name, value in settings.items() if name not in OTHER_LENGTHS}
        path.write_text(json.dumps(others | changes, indent=2) + "\n", encoding="utf-8")
        replace(manifest.read(exported), files=manifest.record_files(folder)).write(folder)

    made_from = {"export": fingerprint([exported / MANIFEST]), **changes}
    return cache.get(f"models/{exported.resolve().name}-beams{beams}-tokens{new_tokens}", made_from, make)


def _checkpoint(name: str, source: str, folder: Path) -> Checkpoint:
    try:
        positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The configuration of {folder} cannot be read ({error}).") from error
    return Checkpoint(name, source, folder, is_synthetic(folder), positions)


def _located(checkpoint: str) -> Path:
    from export.checkpoint import locate
    from export.errors import ExportError

    try:
        return locate(checkpoint, None).path
    except ExportError as error:
        reason = str(error).replace("python -m export --model", "--checkpoint").replace("--model", "--checkpoint")
        raise InputError(reason) from error
