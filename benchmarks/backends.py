"""The ONNX engines that run in the project's own environment, as they run inside their subprocess."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.witness import Witness, fused_loop, generation_loop, onnx_sessions, session_threads
from service.engine.kernels.library import AUTO

# Settings that have no bearing on the tokens of an encoder-decoder model.
IMMATERIAL = ("transformers_version", "_from_model_config", "bos_token_id")


class Backend(Protocol):
    """What the worker needs of an engine that has loaded a model."""

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        """Ids of one reply without the decoder's start token; `ids` are those of the source."""

    def watch(self) -> AbstractContextManager[Witness]:
        """A block in which what `generate` really does is seen."""

    def describe(self) -> dict[str, Any]:
        """Vocabulary and decoding settings, which must be the same for all backends of a run.

        Returns:
            decoding: those that differ from the defaults of transformers, by the names they have there.
            vocab_size, special_ids, eos_id: as in `benchmarks.workload.Vocabulary`.
            engine: what else the figures depend on; for the report only.
        """


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


@dataclass
class GenerateBackend:
    """A model whose `generate` is that of transformers, or like it.

    Attributes:
        model: with the generation settings that came with it.
        path: folder that holds the tokenizer.
        threads: asked of the live model: of each of its parts.
        loop: watches the model's `generate`.
        decoding: settings that the model goes by, when they are not in its `generation_config`.
        engine: for `describe`.
    """

    model: Any
    path: str
    threads: Callable[[], list[int]]
    loop: Callable[[Any], AbstractContextManager[Witness]] = generation_loop
    decoding: dict[str, Any] | None = None
    engine: dict[str, str] = field(default_factory=dict)

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        import torch

        input_ids = torch.tensor([ids])
        length = new_tokens + 1  # transformers counts the decoder's start token
        output = self.model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            num_beams=beams,
            min_length=length,
            max_length=length,
        )
        reply: list[int] = output[0].tolist()
        return reply[1:]

    @contextmanager
    def watch(self) -> Iterator[Witness]:
        with self.loop(self.model) as seen:
            yield seen
            seen.threads = self.threads()

    def describe(self) -> dict[str, Any]:
        from transformers import AutoTokenizer

        decoding = self.model.generation_config.to_diff_dict() if self.decoding is None else self.decoding
        return {
            "decoding": {name: value for name, value in decoding.items() if name not in IMMATERIAL},
            "vocab_size": self.model.config.vocab_size,
            "special_ids": sorted(AutoTokenizer.from_pretrained(self.path).all_special_ids),
            "eos_id": self.model.config.eos_token_id,
            "engine": self.engine,
        }


def load_stock(path: str, threads: int) -> Loaded:
    """A folder of ONNX files in the stock `ORTModelForSeq2SeqLM`; torch, which runs its loop, gets the same threads."""
    started = time.perf_counter()
    import torch
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    with onnx_sessions() as sessions:
        model = ORTModelForSeq2SeqLM.from_pretrained(path, session_options=options, provider="CPUExecutionProvider")
    loaded = time.perf_counter()
    backend = GenerateBackend(model, path, lambda: [torch.get_num_threads(), *session_threads(sessions)])
    return Loaded(backend, imported - started, loaded - imported)


def load_ours(path: str, threads: int, kernels: str = AUTO) -> Loaded:
    """A folder written by `python -m export` in the project's own engine."""
    started = time.perf_counter()
    import torch
    from transformers import GenerationConfig

    from service.engine.settings import DecodingSettings
    from service.ort_model import ORTBlenderbotForConditionalGeneration

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    with onnx_sessions() as sessions:
        model = ORTBlenderbotForConditionalGeneration.from_pretrained(path, threads=threads, kernels=kernels)
    loaded = time.perf_counter()
    settings = asdict(model.settings)
    del settings["seed"]
    if model.settings.max_length == DecodingSettings().max_length:
        del settings["max_length"]  # the default of transformers, which is counted differently there
    backend = GenerateBackend(
        model,
        path,
        lambda: session_threads(sessions),
        lambda _: fused_loop(),
        GenerationConfig(**settings).to_diff_dict(),
        {"kernels": model.network.kernels.title},
    )
    return Loaded(backend, imported - started, loaded - imported)
