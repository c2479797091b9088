"""Finding a Blenderbot checkpoint, on the Hub or in a folder, and making sure that it is whole."""

from __future__ import annotations

import fnmatch
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import CheckpointError, HubUnreachable

if TYPE_CHECKING:
    from transformers import BlenderbotForConditionalGeneration, PreTrainedTokenizerBase

HUB_DEADLINE_S = 9.0
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
CONFIG_FILES = ("config.json", "generation_config.json")
WEIGHT_PATTERNS = ("model*.safetensors", "pytorch_model*.bin")
LOCAL_FOLDER_ADVICE = "pass a local folder that holds the checkpoint instead: python -m export --model FOLDER"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: folder that holds config, weights and tokenizer.
        source: what the user named, Hub id or folder.
        revision: commit on the Hub; None for a local folder.
    """

    path: Path
    source: str
    revision: str | None


def locate(model: str, revision: str | None, *, weights: bool = True) -> Checkpoint:
    """Resolve a Hub id or a local folder to a checkpoint folder, downloading it when needed.

    Args:
        model: Hub id or folder.
        revision: on the Hub; None for the default branch.
        weights: whether they are wanted, too; without them, next to nothing is downloaded.

    Raises:
        HubUnreachable: no answer from the Hub within ten seconds and no cached copy.
        CheckpointError: the repository or folder does not exist or is not a Blenderbot checkpoint.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"--revision names a Hub revision, but {model} is a local folder; leave it out.")
        checkpoint = Checkpoint(folder, model, None)
    elif folder.exists():
        raise CheckpointError(
            f"{model} is a file; --model takes a folder or a Hub id such as facebook/blenderbot-400M-distill."
        )
    elif model.count("/") > 1 or model.startswith((".", "~", "/")):
        raise CheckpointError(f"There is no folder {model}; --model takes an existing folder or a Hub id.")
    else:
        checkpoint = _download(model, revision, weights=weights)
        if not weights:
            return checkpoint
    _check_files(checkpoint)
    return checkpoint


def load(checkpoint: Checkpoint) -> tuple[BlenderbotForConditionalGeneration, PreTrainedTokenizerBase]:
    """Load model (fp32, on the CPU) and tokenizer, refusing a checkpoint that lacks weights.

    Raises:
        CheckpointError: a file cannot be read, or the weights do not fill the model.
    """
    import torch
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    except Exception as error:
        raise CheckpointError(
            f"The tokenizer files in {checkpoint.path} cannot be read ({_first_line(error)})."
        ) from error
    try:
        model, info = BlenderbotForConditionalGeneration.from_pretrained(
            checkpoint.path, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:
        raise CheckpointError(f"The weights in {checkpoint.path} cannot be read ({_first_line(error)}).") from error
    missing = sorted({*info["missing_keys"], *info["mismatched_keys"]})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"The weights in {checkpoint.path} lack {missing[0]}{more}, or hold it in another shape than config.json "
            "says; download the checkpoint again."
        )
    broken = next((name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise CheckpointError(f"The weight {broken} in {checkpoint.path} holds values that are not finite.")
    try:
        model.generation_config.validate(strict=True)
    except ValueError as error:
        reason = next((line.strip("-. ") for line in str(error).splitlines() if line[:1] == "-"), _first_line(error))
        raise CheckpointError(
            f"{checkpoint.path / 'generation_config.json'} contradicts itself ({reason}); correct it there."
        ) from error
    return model.eval(), tokenizer


def parameter_count(checkpoint: Checkpoint) -> int:
    """Number of weights that the configuration calls for, without loading any."""
    import torch
    from transformers import BlenderbotConfig, BlenderbotForConditionalGeneration

    try:
        with torch.device("meta"):
            model = BlenderbotForConditionalGeneration(BlenderbotConfig.from_pretrained(checkpoint.path))
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint.path / 'config.json'} does not describe a Blenderbot model ({_first_line(error)})."
        ) from error
    return int(model.num_parameters())


def _download(model: str, revision: str | None, *, weights: bool) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        files = _hub_listing(model, revision)
    except HubUnreachable:
        cached = _cached(model, revision)
        if cached is None:
            raise
        return cached
    pattern = next((pattern for pattern in WEIGHT_PATTERNS if fnmatch.filter(files, pattern)), None)
    if pattern is None:
        raise CheckpointError(f"{model} on the Hub holds no PyTorch weights (model.safetensors or pytorch_model.bin).")
    try:
        # By the name of the revision, not its commit: only then does the cache know the commit when the Hub is away.
        path = Path(snapshot_download(model, revision=revision, allow_patterns=[*CONFIG_FILES, *TOKENIZER_FILES]))
        checkpoint = Checkpoint(path, model, path.name)
        _check_model_type(checkpoint)
        if weights:
            snapshot_download(model, revision=checkpoint.revision, allow_patterns=[f"{pattern}*"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise HubUnreachable(
            f"The download of {model} broke off ({_first_line(error)}); try again, or {LOCAL_FOLDER_ADVICE}"
        ) from error
    return checkpoint


def _hub_listing(model: str, revision: str | None) -> list[str]:
    """Files at the root of a Hub repository, decided within `HUB_DEADLINE_S` seconds whatever the network does."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(HfApi().model_info(model, revision=revision, timeout=HUB_DEADLINE_S))
        except Exception as error:
            answer.append(error)

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    if not offline:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(HUB_DEADLINE_S)
    found = answer[0] if answer else None
    if isinstance(found, HFValidationError):
        raise CheckpointError(f"{model} is neither a folder nor a Hub id (owner/name).") from found
    if isinstance(found, RevisionNotFoundError):
        raise CheckpointError(f"{model} has no revision {revision} on the Hub.") from found
    if isinstance(found, RepositoryNotFoundError):
        raise CheckpointError(f"There is no model {model} on the Hub and no such folder.") from found
    if found is None or isinstance(found, Exception):
        status = found.response.status_code if isinstance(found, HfHubHTTPError) else None
        reason = f"answered {status}" if status else "is switched off" if offline else "cannot be reached"
        raise HubUnreachable(f"The Hub {reason}, so {model} cannot be downloaded; {LOCAL_FOLDER_ADVICE}") from found
    return [sibling.rfilename for sibling in found.siblings if "/" not in sibling.rfilename]


def _cached(model: str, revision: str | None) -> Checkpoint | None:
    """The checkpoint as an earlier download left it; None when there is none or it broke off."""
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(model, revision=revision, local_files_only=True))
        checkpoint = Checkpoint(path, model, path.name)
        _check_files(checkpoint)
    except (OSError, ValueError, CheckpointError):
        return None
    return checkpoint


def _check_files(checkpoint: Checkpoint) -> None:
    path = checkpoint.path
    _check_model_type(checkpoint)
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if (path / name).exists():
            _read_json(path / name)
    if not (path / "tokenizer.json").exists() and not (path / "vocab.json").exists():
        raise CheckpointError(f"{path} holds no tokenizer (tokenizer.json, or vocab.json with merges.txt).")
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_PATTERNS):
        raise CheckpointError(f"{path} holds no weights (model.safetensors or pytorch_model.bin).")


def _check_model_type(checkpoint: Checkpoint) -> None:
    model_type = _read_json(checkpoint.path / "config.json").get("model_type")
    if model_type != "blenderbot":
        raise CheckpointError(
            f"{checkpoint.source} is not a Blenderbot checkpoint: its config.json says model_type {model_type!r}, and "
            "only 'blenderbot' can be exported."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is not a checkpoint: it holds no {path.name}.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({_first_line(error)}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.")
    return content


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200].rstrip(". ") if text else type(error).__name__
