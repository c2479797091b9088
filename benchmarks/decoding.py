"""The decoding settings of a model folder, and an exported folder whose replies all have one length."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.backends import IMMATERIAL
from benchmarks.cache import Cache, fingerprint

FILE_NAME = "generation_config.json"
# They would win over the lengths that are set here.
OTHER_LENGTHS = ("max_new_tokens", "min_new_tokens")


def decoding(folder: Path) -> dict[str, Any]:
    """What the settings of a model folder differ in from the defaults of transformers, and matters to the tokens."""
    from transformers import AutoConfig, GenerationConfig

    if (folder / FILE_NAME).is_file():
        settings = GenerationConfig.from_pretrained(folder)
    else:
        settings = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    return {name: value for name, value in settings.to_diff_dict().items() if name not in IMMATERIAL}


def fixed_length(exported: Path, beams: int, new_tokens: int, cache: Cache) -> Path:
    """A copy, in the cache, of an exported folder that gives every reply the same number of tokens.

    Args:
        exported: written by `python -m export`.
        beams: beam width; 1 is greedy search.
        new_tokens: tokens of a reply, `</s>` included and the decoder's start token not.
        cache: where the copy is kept.
    """
    from models import manifest
    from models.folder import MANIFEST

    length = new_tokens + 1  # transformers counts the decoder's start token
    changes = {"num_beams": beams, "min_length": length, "max_length": length}

    def make(folder: Path) -> None:
        shutil.copytree(exported, folder)
        path = folder / FILE_NAME
        settings = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: value for name, value in settings.items() if name not in OTHER_LENGTHS}
        path.write_text(json.dumps(kept | changes, indent=2) + "\n", encoding="utf-8")
        sealed = replace(manifest.read(exported), files=manifest.record_files(folder))
        sealed.write(folder)

    made_from = {"export": fingerprint([exported / MANIFEST]), **changes}
    return cache.kept(f"models/{exported.resolve().name}-beams{beams}-tokens{new_tokens}", made_from, make)
