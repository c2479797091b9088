"""All of a checkpoint but its weights, read and known to be what the exported model and the service can work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BlenderbotConfig, GenerationConfig, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from export.checkpoint import TOKENIZER_CONFIG, read_json
from export.errors import CheckpointError, first_clause
from export.tensors import hollow_model
from models.folder import CONFIG, GENERATION_CONFIG
from service.engine import configuration
from service.engine.errors import UnsupportedSetting
from service.engine.settings import DecodingSettings


@dataclass(frozen=True)
class Settings:
    """Configuration, generation settings and tokenizer."""

    config: BlenderbotConfig
    generation: GenerationConfig
    tokenizer: PreTrainedTokenizerBase

    def save(self, folder: Path) -> None:
        """Write them; old checkpoints keep the generation settings in the configuration."""
        self.generation.save_pretrained(folder)
        for name in self.config._get_non_default_generation_parameters():
            setattr(self.config, name, None)
        self.config.dtype = "float32"
        self.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def read_settings(folder: Path) -> Settings:
    """Read all of a checkpoint but the weights.

    Raises:
        CheckpointError: a file cannot be read, or asks for what the exported model or the service cannot do.
    """
    config = _read_config(folder)
    return Settings(config, _read_generation_config(folder, config), _read_tokenizer(folder, config))


def _read_config(path: Path) -> BlenderbotConfig:
    file = path / CONFIG
    try:
        configuration.check_sizes(stored := read_json(file))
        if methods := [name for name in stored if callable(getattr(BlenderbotConfig, name, None))]:
            raise ValueError(f"{methods[0]} is no setting")
        config = BlenderbotConfig.from_pretrained(path)
        configuration.check_sizes(config.to_dict())  # those of other names too
        heads = {config.encoder_attention_heads, config.decoder_attention_heads}
        if any(config.d_model % count for count in heads):
            raise ValueError("its d_model is no multiple of its heads")
        hollow_model(config)
    except Exception as error:
        raise CheckpointError(f"{file} does not describe a Blenderbot model ({first_clause(error)}).") from error
    if len(heads) > 1:
        unequal = "encoder_attention_heads and decoder_attention_heads that differ"
        raise CheckpointError(f"{file} has {unequal}; only models where they are equal can be exported.")
    if (activation := config.activation_function) != "gelu":
        raise CheckpointError(f'{file} has activation_function "{activation}"; only "gelu" can be exported.')
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(f"{file} has a quantization_config; export the checkpoint it was quantised from.")
    return config


def _read_generation_config(path: Path, config: BlenderbotConfig) -> GenerationConfig:
    own = (path / GENERATION_CONFIG).exists()
    file = path / (GENERATION_CONFIG if own else CONFIG)
    try:
        generation = GenerationConfig.from_pretrained(path) if own else GenerationConfig.from_model_config(config)
        generation.validate(strict=True)
    except Exception as error:
        reason = next((line.strip("-. ") for line in str(error).splitlines() if line[:1] == "-"), first_clause(error))
        raise CheckpointError(f"{file} contradicts itself ({reason}); correct it there.") from error
    if generation.decoder_start_token_id is None:
        generation.decoder_start_token_id = generation.bos_token_id
    try:
        settings = DecodingSettings.from_generation_config(generation.to_diff_dict())
        settings.check_window(config.max_position_embeddings)
    except UnsupportedSetting as error:
        raise CheckpointError(f"{file} cannot be served: {str(error).rstrip('.')}; change it there.") from error
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id", "forced_eos_token_id"):
        token = getattr(generation, name)
        if token is None and name in ("decoder_start_token_id", "eos_token_id"):
            raise CheckpointError(f"{file} names no {name}; add it there.")
        if token is not None and not (type(found := getattr(settings, name)) is int and 0 <= found < config.vocab_size):
            raise CheckpointError(f"{file} has {name} {token}, and the model has {config.vocab_size} embeddings.")
    return generation


def _read_tokenizer(path: Path, config: BlenderbotConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer, also where transformers 5 wrote it."""
    settings = read_json(path / TOKENIZER_CONFIG) if (path / TOKENIZER_CONFIG).exists() else {}
    changes: dict[str, Any] = {}
    try:
        configuration.check_sizes(settings)
        if isinstance(extra := settings.get("extra_special_tokens"), list):
            extra = [*settings.get("additional_special_tokens", ()), *extra]
            changes = {"extra_special_tokens": {}, "additional_special_tokens": extra}
        if tokenizer_class_from_name(settings.get("tokenizer_class") or "BlenderbotTokenizer") is None:
            changes["tokenizer_type"] = "blenderbot"
        tokenizer = AutoTokenizer.from_pretrained(path, config=config, trust_remote_code=False, **changes)
        ids = [*tokenizer("Hello").input_ids, tokenizer.eos_token_id]
    except Exception as error:
        raise CheckpointError(f"The tokenizer files in {path} cannot be read ({first_clause(error)}).") from error
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    special |= set(tokenizer.all_special_tokens)
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= config.vocab_size}
    if needed := [number for number, token in beyond.items() if token not in special or number in ids]:
        number = min(needed)
        text = tokenizer.convert_tokens_to_string([beyond[number]]).strip()
        raise CheckpointError(
            f'The tokenizer in {path} makes token {number} of "{text}" and the model has {config.vocab_size} '
            "embeddings; take the tokenizer that the model was trained with, or resize the model's embeddings."
        )
    if tokenizer.eos_token_id is None:
        raise CheckpointError(f"The tokenizer in {path} has no eos_token; name it in {TOKENIZER_CONFIG}.")
    return tokenizer
