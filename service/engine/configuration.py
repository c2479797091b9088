"""The configurations in an exported folder."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from service.errors import ModelFolderError


def read(folder: Path) -> tuple[PretrainedConfig, GenerationConfig]:
    """Read `config.json` and `generation_config.json`.

    Raises:
        ModelFolderError: one is missing or damaged.
    """
    try:
        return (
            AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
            GenerationConfig.from_pretrained(folder, local_files_only=True),
        )
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{folder} is not an exported model ({str(error).splitlines()[0][:160]}); make one: python -m export."
        ) from error
