"""Finding a Blenderbot checkpoint, on the Hub or in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download

from export.errors import CheckpointError, HubUnreachable, first_clause
from export.hub import Repository
from export.progress import SILENT, ConsoleProgress
from models.folder import CONFIG, DEFAULT_MODEL, GENERATION_CONFIG, TOKENIZER

LFS_POINTER = b"version https://git-lfs."
TOKENIZER_CONFIG, VOCAB, MERGES = "tokenizer_config.json", "vocab.json", "merges.txt"
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG, VOCAB, MERGES, "special_tokens_map.json", "added_tokens.json")


class Checkpoint(NamedTuple):
    """A folder that holds configuration, weights and tokenizer."""

    path: Path
    source: str  # what the user named, Hub id or folder
    revision: str | None  # commit on the Hub; None for a local folder


def locate(model: str, revision: str | None, *, weights: bool = True, progress: ConsoleProgress = SILENT) -> Checkpoint:
    """Resolve a Hub id or a local folder to a checkpoint folder, downloading it when needed, the weights if wanted.

    Raises:
        HubUnreachable: no answer from the Hub within ten seconds and no cached copy.
        CheckpointError: the repository or folder does not exist or is not a Blenderbot checkpoint.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"--revision names a Hub revision, but {model} is a local folder; leave it out.")
        return _checked(Checkpoint(folder, model, None))
    if folder.exists():
        raise CheckpointError(f"{model} is a file; --model takes a folder or a Hub id such as {DEFAULT_MODEL}.")
    if model.count("/") != 1 or model.startswith((".", "~", "/")):
        raise CheckpointError(f"There is no folder {model}, and Hub ids are owner/name, such as {DEFAULT_MODEL}.")
    with progress.stage(f"Find {model} on the Hub"):
        try:
            repository = Repository(model, revision)
        except HubUnreachable:
            if (kept := _cached(model, revision)) is None:
                raise
            return kept
        path = repository.download([CONFIG, GENERATION_CONFIG, *TOKENIZER_FILES])
        checkpoint = _checked(Checkpoint(path, model, path.name), weights=False)
    if weights:
        with progress.stage("Download the weights", repository.weight_bytes) as advance:
            repository.download([repository.weights], advance)
    return _checked(checkpoint, weights=weights)


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file of a checkpoint.

    Raises:
        CheckpointError: it is missing, unreadable or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        inner = path.parent / "checkpoint"
        hint = f"; {inner} is one" if (inner / path.name).exists() else ""
        raise CheckpointError(f"{path.parent} is not a checkpoint: it holds no {path.name}{hint}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({first_clause(error)}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.")
    return content


def _cached(model: str, revision: str | None) -> Checkpoint | None:
    """The checkpoint as an earlier download left it; None when there is none or it broke off."""
    try:
        path = Path(snapshot_download(model, revision=revision, local_files_only=True))
        return _checked(Checkpoint(path, model, path.name))
    except (OSError, ValueError, CheckpointError):
        return None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a checkpoint, in the order in which transformers prefers them.

    Raises:
        CheckpointError: there are none, one is missing, or the index is not one.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        if _has(folder / single):
            return [folder / single]
        index = folder / f"{single}.index.json"
        if not _has(index):
            continue
        places = read_json(index).get("weight_map")
        names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if not names or any(not name or Path(name).name != name for name in names):
            raise CheckpointError(f"{index} does not name files of its folder; download the checkpoint again.")
        if missing := next((name for name in names if not _has(folder / name)), None):
            raise CheckpointError(f"{folder} lacks {missing}, which {index.name} names; download the checkpoint again.")
        return [folder / name for name in names]
    raise CheckpointError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin, or an index).")


def _checked(checkpoint: Checkpoint, *, weights: bool = True) -> Checkpoint:
    path, source, _ = checkpoint
    for name in (CONFIG, GENERATION_CONFIG, *TOKENIZER_FILES):
        if _has(path / name) and name.endswith(".json"):
            read_json(path / name)
    if (model_type := read_json(path / CONFIG).get("model_type")) != "blenderbot":
        raise CheckpointError(f"{source} is not a Blenderbot checkpoint: config.json says model_type {model_type!r}.")
    if not any(all((path / name).exists() for name in names) for names in ([TOKENIZER], [VOCAB, MERGES])):
        raise CheckpointError(f"{path} holds no tokenizer (tokenizer.json, or vocab.json with merges.txt).")
    if weights:
        weight_files(path)
    return checkpoint


def _has(path: Path) -> bool:
    """Whether a file is there; what is no file, such as a pipe, or only stands for one is refused."""
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; download the checkpoint again.")
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(f"{path} only points to a file of Git LFS; fetch that with git lfs pull.")
    return True
