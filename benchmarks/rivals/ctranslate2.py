"""CTranslate2, which has no loader for Blenderbot: a BART of the same shape with random weights runs in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.engines import IMMATERIAL, Engine, Observation

DESCRIPTION = "description.json"
SEED = 0
UNKNOWN_ID = 3
# What the twin shares with the checkpoint.
SHAPE = """
vocab_size d_model encoder_layers decoder_layers encoder_attention_heads decoder_attention_heads encoder_ffn_dim
decoder_ffn_dim max_position_embeddings activation_function scale_embedding pad_token_id bos_token_id eos_token_id
decoder_start_token_id
"""
# Settings of transformers that it has, under the same names.
SETTINGS = ("length_penalty", "no_repeat_ngram_size", "repetition_penalty")
# Given with each request, or part of the converted model.
ELSEWHERE = ("num_beams", "min_length", "max_length", "decoder_start_token_id", "eos_token_id", "pad_token_id")


@dataclass
class TranslatorEngine:
    """A `ctranslate2.Translator`, which takes and gives text: the tokens of the twin are its ids in decimal.

    `threads` are those that it was made with, since it does not tell; `description` is what `describe` gives.
    """

    translator: Any
    threads: int
    description: dict[str, Any]

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        decoding = self.description["decoding"]
        (result,) = self.translator.translate_batch(
            [list(map(str, ids))],
            beam_size=beams,
            min_decoding_length=new_tokens,
            max_decoding_length=new_tokens,
            return_end_token=True,
            **{name: decoding[name] for name in SETTINGS if name in decoding},
        )
        return list(map(int, result.hypotheses[0]))

    @contextmanager
    def watch(self) -> Iterator[Observation]:
        """The translator cannot be looked into: what counts is what reaches it."""
        translator, observation = self.translator, Observation(threads=[self.threads])

        class Watched:
            def translate_batch(self, sources: list[list[str]], **settings: Any) -> Any:
                observation.rows = settings["beam_size"]
                observation.steps = settings["max_decoding_length"]
                observation.source_tokens = len(sources[0])
                return translator.translate_batch(sources, **settings)

        self.translator = Watched()
        try:
            yield observation
        finally:
            self.translator = translator

    def describe(self) -> dict[str, Any]:
        return self.description


def load(path: str, threads: int) -> Engine:
    """A converted folder, without torch, which only the conversion needs."""
    import ctranslate2

    translator = ctranslate2.Translator(path, device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads)
    description = json.loads((Path(path) / DESCRIPTION).read_text(encoding="utf-8"))
    return TranslatorEngine(translator, threads, description)


def convert_int8(checkpoint: Path, output: Path) -> None:
    """Draw the weights of the twin, and convert it with 8-bit weights."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, BlenderbotConfig, GenerationConfig

    original = BlenderbotConfig.from_pretrained(checkpoint)
    shape = SHAPE.split()
    config = BartConfig(**{name: getattr(original, name) for name in shape}, normalize_before=False)

    class TwinConverter(TransformersConverter):  # type: ignore[misc, unused-ignore]
        def load_model(self, *_arguments: Any, **_settings: Any) -> Any:
            torch.manual_seed(SEED)
            return BartForConditionalGeneration(config).eval()

        def load_tokenizer(self, *_arguments: Any, **_settings: Any) -> Any:
            return _Ids(config)

    with TemporaryDirectory() as scratch:
        config.save_pretrained(scratch)
        TwinConverter(scratch).convert(str(output), quantization="int8")
    decoding = GenerationConfig.from_pretrained(checkpoint).to_diff_dict()
    applied = {*SETTINGS, *ELSEWHERE}.difference(IMMATERIAL)
    description = {
        "decoding": {name: value for name, value in decoding.items() if name in applied},
        "vocab_size": config.vocab_size,
        "special_ids": sorted(AutoTokenizer.from_pretrained(checkpoint).all_special_ids),
        "eos_id": config.eos_token_id,
        "engine": {"compute_type": "int8"},
    }
    (output / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


class _Ids:
    """What the converter asks of a tokenizer, with ids in decimal for tokens."""

    def __init__(self, config: Any) -> None:
        self._size = config.vocab_size
        self.bos_token = str(config.bos_token_id)
        self.eos_token = str(config.eos_token_id)
        self.unk_token = str(UNKNOWN_ID)

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(self._size)}

    def convert_ids_to_tokens(self, index: int) -> str:
        return str(index)
