"""Finding a Blenderbot checkpoint, on the Hub or in a folder, and making sure that its export can be served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from export.errors import CheckpointError, HubUnreachable, first_line
from export.hub import WEIGHT_PATTERNS, Repository
from export.progress import SILENT, ConsoleProgress
from models.folder import CONFIG, DEFAULT_MODEL, GENERATION_CONFIG, TOKENIZER
from service.engine.errors import UnsupportedSetting
from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from transformers import BlenderbotConfig, GenerationConfig, PreTrainedTokenizerBase

TOKENIZER_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
TOKENIZER_CONFIG = "tokenizer_config.json"


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


@dataclass(frozen=True)
class Settings:
    """All of a checkpoint but its weights, known to be what the service can work with."""

    config: BlenderbotConfig
    generation: GenerationConfig
    tokenizer: PreTrainedTokenizerBase

    def save(self, folder: Path) -> None:
        """Write configuration, generation settings and tokenizer; old checkpoints keep the settings in the former."""
        self.generation.save_pretrained(folder)
        for name in self.config._get_non_default_generation_parameters():
            setattr(self.config, name, None)
        self.config.dtype = "float32"
        self.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def locate(model: str, revision: str | None, *, weights: bool = True, progress: ConsoleProgress = SILENT) -> Checkpoint:
    """Resolve a Hub id or a local folder to a checkpoint folder, downloading it when needed.

    Args:
        model: Hub id or folder.
        revision: on the Hub; None for the default branch.
        weights: whether they are wanted, too; without them, next to nothing is downloaded.
        progress: shown the search and the download of the weights.

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
        raise CheckpointError(f"{model} is a file; --model takes a folder or a Hub id such as {DEFAULT_MODEL}.")
    elif model.count("/") > 1 or model.startswith((".", "~", "/")):
        raise CheckpointError(f"There is no folder {model}; --model takes an existing folder or a Hub id.")
    elif "/" not in model:
        raise CheckpointError(f"There is no folder {model}, and Hub ids are owner/name, such as {DEFAULT_MODEL}.")
    else:
        checkpoint = _download(model, revision, weights, progress)
        if not weights:
            return checkpoint
    _check_files(checkpoint)
    return checkpoint


def read_settings(checkpoint: Checkpoint) -> Settings:
    """Read all but the weights.

    Raises:
        CheckpointError: a file cannot be read, or asks for what the exported model or the service cannot do.
    """
    config = _read_config(checkpoint.path)
    generation = _read_generation_config(checkpoint.path, config)
    return Settings(config, generation, _read_tokenizer(checkpoint.path, config))


def _read_config(path: Path) -> BlenderbotConfig:
    from transformers import BlenderbotConfig

    file = path / CONFIG
    try:
        config = BlenderbotConfig.from_pretrained(path)
        heads = {config.encoder_attention_heads, config.decoder_attention_heads}
        sizes = (config.d_model, config.vocab_size, config.max_position_embeddings, *heads)
        layers = (config.encoder_layers, config.decoder_layers, config.encoder_ffn_dim, config.decoder_ffn_dim)
        possible = all(size > 0 for size in (*sizes, *layers)) and not any(config.d_model % count for count in heads)
    except Exception as error:
        raise CheckpointError(f"{file} does not describe a Blenderbot model ({first_line(error)}).") from error
    if not possible:
        raise CheckpointError(f"{file} does not describe a Blenderbot model (d_model, heads, layers or other sizes).")
    if len(heads) > 1:
        raise CheckpointError(
            f"{file} has {config.encoder_attention_heads} encoder_attention_heads and {config.decoder_attention_heads} "
            "decoder_attention_heads; only models with equal ones can be exported."
        )
    if config.activation_function != "gelu":
        raise CheckpointError(
            f'{file} has activation_function "{config.activation_function}"; only "gelu" can be exported.'
        )
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(
            f"{file} has a quantization_config; export the checkpoint it was quantised from, in full or half precision."
        )
    return config


def _read_generation_config(path: Path, config: BlenderbotConfig) -> GenerationConfig:
    from transformers import GenerationConfig

    file = path / (GENERATION_CONFIG if (path / GENERATION_CONFIG).exists() else CONFIG)
    try:
        if file.name == CONFIG:
            generation = GenerationConfig.from_model_config(config)
        else:
            generation = GenerationConfig.from_pretrained(path)
        generation.validate(strict=True)
    except Exception as error:
        reason = next((line.strip("-. ") for line in str(error).splitlines() if line[:1] == "-"), first_line(error))
        raise CheckpointError(f"{file} contradicts itself ({reason}); correct it there.") from error
    if generation.decoder_start_token_id is None:
        generation.decoder_start_token_id = generation.bos_token_id
    try:
        settings = DecodingSettings.from_generation_config(generation.to_diff_dict())
        settings.check_window(config.max_position_embeddings)
    except UnsupportedSetting as error:
        raise CheckpointError(f"{file} cannot be served: {str(error).rstrip('.')}; change it there.") from error
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        token = getattr(generation, name)
        if name != "pad_token_id" and token is None:
            raise CheckpointError(f"{file} names no {name}; add it there.")
        if token is not None and not 0 <= getattr(settings, name) < config.vocab_size:
            raise CheckpointError(f"{file} has {name} {token}, and the model has {config.vocab_size} embeddings.")
    return generation


def _read_tokenizer(path: Path, config: BlenderbotConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer, also where transformers 5 wrote it."""
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    with TemporaryDirectory() as folder:
        for name in TOKENIZER_FILES:
            if (path / name).exists():
                shutil.copyfile(path / name, Path(folder) / name)
        try:
            settings: dict[str, Any] = read_json(path / TOKENIZER_CONFIG) if (path / TOKENIZER_CONFIG).exists() else {}
            if isinstance(extra := settings.get("extra_special_tokens"), list):
                del settings["extra_special_tokens"]
                settings["additional_special_tokens"] = [*settings.get("additional_special_tokens", ()), *extra]
            if tokenizer_class_from_name(settings.get("tokenizer_class", "BlenderbotTokenizer")) is None:
                settings["tokenizer_class"] = "BlenderbotTokenizer"
            (Path(folder) / TOKENIZER_CONFIG).write_text(json.dumps(settings), encoding="utf-8")
            tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
            ids = tokenizer("Hello").input_ids
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"The tokenizer files in {path} cannot be read ({first_line(error)}).") from error
    special = set(tokenizer.all_special_tokens) | {
        token.content for token in tokenizer.added_tokens_decoder.values() if token.special
    }
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    beyond = [(number, token) for token, number in vocabulary.items() if number >= config.vocab_size]
    beyond = [found for found in beyond if found[1] not in special or found[0] in ids]
    if beyond:
        number, token = min(beyond)
        text = tokenizer.convert_tokens_to_string([token]).strip()
        raise CheckpointError(
            f'The tokenizer in {path} makes token {number} of "{text}" and the model has {config.vocab_size} '
            "embeddings; take the tokenizer that the model was trained with, or resize the model's embeddings."
        )
    return tokenizer


def _download(model: str, revision: str | None, weights: bool, progress: ConsoleProgress) -> Checkpoint:
    with progress.stage(f"Find {model} on the Hub"):
        try:
            repository = Repository(model, revision)
        except HubUnreachable:
            cached = _cached(model, revision)
            if cached is None:
                raise
            return cached
        path = repository.download([CONFIG, GENERATION_CONFIG, *TOKENIZER_FILES])
        checkpoint = Checkpoint(path, model, path.name)
        _check_model_type(checkpoint)
    if weights:
        with progress.stage("Download the weights", repository.weight_bytes) as advance:
            repository.download([repository.weights], advance)
    return checkpoint


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
    for name in (GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG):
        if (path / name).exists():
            read_json(path / name)
    if not (path / TOKENIZER).exists() and not (path / "vocab.json").exists():
        raise CheckpointError(f"{path} holds no tokenizer (tokenizer.json, or vocab.json with merges.txt).")
    if not any(any(path.glob(pattern)) for pattern in WEIGHT_PATTERNS):
        raise CheckpointError(f"{path} holds no weights (model.safetensors or pytorch_model.bin).")


def _check_model_type(checkpoint: Checkpoint) -> None:
    model_type = read_json(checkpoint.path / CONFIG).get("model_type")
    if model_type != "blenderbot":
        raise CheckpointError(
            f"{checkpoint.source} is not a Blenderbot checkpoint: its config.json says model_type {model_type!r}, and "
            "only 'blenderbot' can be exported."
        )


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
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({first_line(error)}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.")
    return content
