"""The configurations in an exported folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.folder import CONFIG, GENERATION_CONFIG, ModelFolderError

MODEL_TYPE = "blenderbot"
SIZES = ("d_model", "decoder_attention_heads", "decoder_layers", "max_position_embeddings", "vocab_size")

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
        for name in SIZES:
            if type(config.get(name)) is not int or config[name] < 1:
                raise ValueError(f"its {name} is {config.get(name)!r} and not a number above 0")
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder} is not an exported model ({str(error)[:160]}); make one: python -m export."
        ) from error
    return config, generation


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content
