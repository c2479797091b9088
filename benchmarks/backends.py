"""The engines, as they run inside their subprocess."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Backend(Protocol):
    """What the worker needs of an engine that has loaded a model."""

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        """Ids of one reply without the decoder's start token; `ids` are those of the source."""

    def describe(self) -> dict[str, Any]:
        """Vocabulary and decoding settings, which must be the same for all backends of a run."""


@dataclass(frozen=True)
class Loaded:
    """A backend and what it took to get it.

    Attributes:
        backend: ready to generate.
        import_s: seconds that importing its libraries took.
        load_s: seconds from the files to a model in memory.
    """

    backend: Backend
    import_s: float
    load_s: float


Loader = Callable[[str, int], Loaded]
"""Loads a model folder with a number of threads."""


class GenerateBackend:
    """A model whose `generate` is that of transformers, with the generation settings that came with it."""

    def __init__(self, model: Any, path: str) -> None:
        self._model = model
        self._path = path

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        import torch

        input_ids = torch.tensor([ids])
        length = new_tokens + 1  # transformers counts the decoder's start token
        output = self._model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            num_beams=beams,
            min_length=length,
            max_length=length,
        )
        reply: list[int] = output[0].tolist()
        return reply[1:]

    def describe(self) -> dict[str, Any]:
        from transformers import AutoTokenizer

        settings = self._model.generation_config.to_diff_dict()
        settings.pop("transformers_version", None)
        return {
            "decoding": settings,
            "vocab_size": self._model.config.vocab_size,
            "special_ids": sorted(AutoTokenizer.from_pretrained(self._path).all_special_ids),
            "eos_id": self._model.config.eos_token_id,
        }


def load_torch(path: str, threads: int) -> Loaded:
    """PyTorch fp32, as in the usual tutorial: `BlenderbotForConditionalGeneration.generate`."""
    started = time.perf_counter()
    import torch
    from transformers import BlenderbotForConditionalGeneration

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    model = BlenderbotForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
    return Loaded(GenerateBackend(model, path), imported - started, time.perf_counter() - imported)


def load_onnxruntime(path: str, threads: int) -> Loaded:
    """An exported folder in the stock `ORTModelForSeq2SeqLM`; torch, which runs its loop, gets the same threads."""
    started = time.perf_counter()
    import torch
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForSeq2SeqLM.from_pretrained(path, session_options=options, provider="CPUExecutionProvider")
    return Loaded(GenerateBackend(model, path), imported - started, time.perf_counter() - imported)


BACKENDS: dict[str, Loader] = {"torch": load_torch, "onnxruntime": load_onnxruntime}
