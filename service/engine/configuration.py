"""The configurations in an exported folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.folder import CONFIG, GENERATION_CONFIG, ModelFolderError

MODEL_TYPE = "blenderbot"
SIZES = ("d_model", "decoder_attention_heads", "decoder_layers", "max_position_embeddings", "vocab_size")
# More of each than any model has. Of the last, for classifiers and other tokenizers, transformers makes lists.
LARGEST = {
    **dict.fromkeys(("d_model", "vocab_size", "max_position_embeddings", "encoder_ffn_dim", "decoder_ffn_dim"), 2**20),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 100),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 1000),
    **dict.fromkeys(("num_labels", "extra_ids", "offset"), 1000),
}

Json = dict[str, Any]


def read(folder: Path) -> tuple[Json, Json]:
    """The content of `config.json` and of `generation_config.json`.

    Raises:
        ModelFolderError: one is missing or damaged, or not of a model that the engine runs.
    """
    try:
        config, generation = (_read(folder / name) for name in (CONFIG, GENERATION_CONFIG))
        if config.get("model_type") != MODEL_TYPE:
            raise ValueError(f"its model_type is {config.get('model_type')!r} and not {MODEL_TYPE!r}")
        check_sizes(dict.fromkeys(SIZES) | config)
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder} is not an exported model ({str(error)[:160]}); make one: python -m export."
        ) from error
    return config, generation


def check_sizes(config: Json) -> None:
    """Refuse sizes of which nothing can be made; those that are not there are left to whoever needs them.

    Raises:
        ValueError: naming the first.
    """
    for name, largest in LARGEST.items():
        if type(size := config.get(name, 1)) is not int or not 1 <= size <= largest:
            raise ValueError(f"its {name} is {size!r:.40} and not a number from 1 to {largest}")


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content
