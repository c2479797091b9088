"""The engines that run in the project's own environment, and what each is seen to do, inside their own process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from unittest.mock import patch

from service.engine.kernels.library import AUTO

# Settings that have no bearing on the tokens of an encoder-decoder model.
IMMATERIAL = ("transformers_version", "_from_model_config", "bos_token_id")


@dataclass
class Observation:
    """One reply, as the model itself saw it: most rows and number of runs of the decoder, length of the encoder's
    output, and the threads of every part of the live model that tells."""

    rows: int = 0
    steps: int = 0
    source_tokens: int = 0
    threads: list[int] = field(default_factory=list)

    def step(self, rows: int) -> None:
        """Note one run of the decoder."""
        self.rows = max(self.rows, rows)
        self.steps += 1


class Engine(Protocol):
    """What the worker needs of an engine that has loaded a model."""

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        """Ids of one reply without the decoder's start token; `ids` are those of the source."""

    def watch(self) -> AbstractContextManager[Observation]:
        """A block in which what `generate` really does is observed."""

    def describe(self) -> dict[str, Any]:
        """Vocabulary and decoding settings, which must be the same for all contestants of a run.

        Returns:
            decoding: those that differ from the defaults of transformers, by the names they have there.
            vocab_size, special_ids, eos_id: of the vocabulary.
            engine: what else the figures depend on; for the report only.
        """


Loader = Callable[[str, int], Engine]
"""Loads a model folder with a number of threads."""


@contextmanager
def generation_loop(model: Any) -> Iterator[Observation]:
    """Watch the `generate` of transformers, which prepares the inputs of each run of the decoder."""
    observation = Observation()
    prepare = model.prepare_inputs_for_generation

    @functools.wraps(prepare)
    def watching(input_ids: Any, *arguments: Any, **settings: Any) -> Any:
        observation.step(input_ids.shape[0])
        observation.source_tokens = settings["encoder_outputs"][0].shape[1]
        return prepare(input_ids, *arguments, **settings)

    model.prepare_inputs_for_generation = watching
    try:
        yield observation
    finally:
        del model.prepare_inputs_for_generation


@contextmanager
def fused_loop(_model: Any) -> Iterator[Observation]:
    """Watch the running batch of our engine."""
    from service.engine.batch import Batch

    observation = Observation()
    add, step = Batch.add, Batch.step

    def noted_add(batch: Batch, sequence: Any) -> None:
        observation.source_tokens = len(sequence.source)
        add(batch, sequence)

    def noted_step(batch: Batch) -> Any:
        observation.step(batch.rows)
        return step(batch)

    with patch.object(Batch, "add", noted_add), patch.object(Batch, "step", noted_step):
        yield observation


@contextmanager
def onnx_sessions() -> Iterator[list[Any]]:
    """The ONNX Runtime sessions that are made within the block."""
    from onnxruntime import InferenceSession

    sessions: list[Any] = []
    initialise = InferenceSession.__init__

    def initialising(session: Any, *arguments: Any, **settings: Any) -> None:
        initialise(session, *arguments, **settings)
        sessions.append(session)

    with patch.object(InferenceSession, "__init__", initialising):
        yield sessions


def session_threads(sessions: list[Any]) -> list[int]:
    """Threads within an operator, of each session."""
    return [session.get_session_options().intra_op_num_threads for session in sessions]


@dataclass
class GenerateEngine:
    """A model whose `generate` is that of transformers, or like it.

    Attributes:
        model: with the generation settings that came with it.
        path: folder that holds the tokenizer.
        threads: asked of the live model: of each of its parts.
        loop: watches the model's `generate`.
        decoding: settings that the model goes by, when they are not in its `generation_config`.
        facts: what else the figures depend on.
    """

    model: Any
    path: str
    threads: Callable[[], list[int]]
    loop: Callable[[Any], AbstractContextManager[Observation]] = generation_loop
    decoding: dict[str, Any] | None = None
    facts: dict[str, str] = field(default_factory=dict)

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
    def watch(self) -> Iterator[Observation]:
        with self.loop(self.model) as observation:
            yield observation
            observation.threads = self.threads()

    def describe(self) -> dict[str, Any]:
        from transformers import AutoTokenizer

        decoding = self.model.generation_config.to_diff_dict() if self.decoding is None else self.decoding
        return {
            "decoding": {name: value for name, value in decoding.items() if name not in IMMATERIAL},
            "vocab_size": self.model.config.vocab_size,
            "special_ids": sorted(AutoTokenizer.from_pretrained(self.path).all_special_ids),
            "eos_id": self.model.config.eos_token_id,
            "engine": self.facts,
        }

    def score(self, ids: list[int], replies: list[list[int]]) -> list[float]:
        """How likely it finds the replies of others: log-probabilities in nats, each without its last token, which the
        settings may force."""
        import torch

        start = self.model.config.decoder_start_token_id
        scores = []
        for reply in replies:
            with torch.inference_mode():
                logits = self.model(
                    input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[start, *reply[:-1]]])
                ).logits[0]
            chosen = torch.log_softmax(logits.float(), dim=-1).gather(1, torch.tensor(reply)[:, None])
            scores.append(float(chosen[:-1].sum()))
        return scores


def load_torch(path: str, threads: int, *, dtype: str = "float32", change: str = "") -> GenerateEngine:
    """`BlenderbotForConditionalGeneration`, as in the usual tutorial; `dtype` is that of weights and activations.

    `change` is `dynamic-int8`: every linear layer with 8-bit weights and activations quantised as they come, by torch's
    own quantiser; `compile`: a compiled `forward`, of dynamic shapes since the cache grows; or "".
    """
    import torch
    from transformers import BlenderbotForConditionalGeneration

    torch.set_num_threads(threads)
    model: Any = BlenderbotForConditionalGeneration.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
    if change == "dynamic-int8":
        quantize: Any = torch.ao.quantization.quantize_dynamic
        model = quantize(model, {torch.nn.Linear}, dtype=torch.qint8)
    elif change == "compile":
        model.forward = torch.compile(model.forward, dynamic=True)
    return GenerateEngine(model, path, lambda: [torch.get_num_threads()])


def load_stock(path: str, threads: int) -> GenerateEngine:
    """A folder of ONNX files in the stock `ORTModelForSeq2SeqLM`; torch, which runs its loop, gets the same threads."""
    import torch
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    torch.set_num_threads(threads)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    with onnx_sessions() as sessions:
        model = ORTModelForSeq2SeqLM.from_pretrained(path, session_options=options, provider="CPUExecutionProvider")
    return GenerateEngine(model, path, lambda: [torch.get_num_threads(), *session_threads(sessions)])


def load_ours(path: str, threads: int, kernels: str = AUTO) -> GenerateEngine:
    """A folder written by `python -m export` in the project's own engine."""
    import torch
    from transformers import GenerationConfig

    from service.engine.settings import DecodingSettings
    from service.ort_model import ORTBlenderbotForConditionalGeneration

    torch.set_num_threads(threads)
    with onnx_sessions() as sessions:
        model = ORTBlenderbotForConditionalGeneration.from_pretrained(path, threads=threads, kernels=kernels)
    settings = asdict(model.settings)
    del settings["seed"]
    if model.settings.max_length == DecodingSettings().max_length:
        del settings["max_length"]  # the default of transformers, which is counted differently there
    decoding = GenerationConfig(**settings).to_diff_dict()
    facts = {"kernels": model.network.kernels.title}
    return GenerateEngine(model, path, lambda: session_threads(sessions), fused_loop, decoding, facts)
