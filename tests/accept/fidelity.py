"""What our class computes on a large quantised model, beside the stock class on the same folder.

Products in 8 bits round their inputs, so the last digit of a sum, which depends on the order of its terms, is enough
for other logits: the stock class differs from itself when ONNX Runtime optimises its graphs less. We may not differ
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnxruntime import GraphOptimizationLevel, SessionOptions
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoTokenizer

from service.engine.sequence import Sequence as Reply
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Logits = list[NDArray[np.float32]]

PROMPTS = 10
TOKENS = 20
MARGIN = 1.1


@dataclass(frozen=True)
class Distance:
    """Between the logits of two models: root mean square, and the share of steps with the same first choice."""

    apart: float
    agreeing: float

    @classmethod
    def between(cls, first: Logits, second: Logits) -> Distance:
        one, other = np.concatenate(first), np.concatenate(second)
        same = one.argmax(1) == other.argmax(1)
        return cls(float(np.sqrt(np.square(one - other).mean())), float(same.mean()))

    def __str__(self) -> str:
        return f"{self.apart:.3f} apart, {self.agreeing:.1%} of first choices equal"


class Dictated(Reply):
    """A reply whose tokens are given; keeps the logits of each."""

    def __init__(self, source: list[int], target: Sequence[int], settings: Any) -> None:
        super().__init__(source, settings)
        self.search: Any = self
        self.scores_name = "logits"
        self.logits: Logits = []
        self._target = target

    @property
    def tokens(self) -> NDArray[np.int64]:
        return np.array([self._target[: len(self.logits) + 1]], np.int64)

    @property
    def finished(self) -> bool:
        return len(self.logits) == len(self._target)

    def advance(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        self.logits.append(scores.copy())
        return np.zeros(1, np.intp)


def check() -> list[Line]:
    return [line(folders.synthetic(precision), precision) for precision in ("int8", "int4")]


def line(folder: Path, name: str) -> Line:
    """One exported folder, judged."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sources = [tokenizer(prompt).input_ids for prompt in prompts(PROMPTS)]
    stock = ORTModelForSeq2SeqLM.from_pretrained(folder)
    targets = [_greedy(stock, source) for source in sources]
    expected = _of_stock(stock, sources, targets)
    del stock
    plain = SessionOptions()
    plain.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    itself = Distance.between(
        expected, _of_stock(ORTModelForSeq2SeqLM.from_pretrained(folder, session_options=plain), sources, targets)
    )
    ours = Distance.between(
        expected, _of_ours(ORTBlenderbotForConditionalGeneration.from_pretrained(folder), sources, targets)
    )
    return Line(
        f"{name}: our logits are as near the stock class's as its own with graph optimisations off",
        f"{ours}; its own {itself}",
        ours.apart <= MARGIN * itself.apart,
    )


def _greedy(model: Any, source: list[int]) -> list[int]:
    settings = {"num_beams": 1, "min_new_tokens": TOKENS, "max_new_tokens": TOKENS}
    reply: list[int] = model.generate(torch.tensor([source]), **settings)[0].tolist()
    return reply[:-1]


def _of_stock(model: Any, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> Logits:
    """Logits after each token of each target, [tokens, vocabulary]."""
    found = []
    for source, target in zip(sources, targets, strict=True):
        ids = torch.tensor([source])
        output = model(ids, attention_mask=torch.ones_like(ids), decoder_input_ids=torch.tensor([target]))
        found.append(output.logits[0].numpy())
    return found


def _of_ours(
    model: ORTBlenderbotForConditionalGeneration, sources: Sequence[list[int]], targets: Sequence[list[int]]
) -> Logits:
    """The same, by our decoder step."""
    found = []
    for source, target in zip(sources, targets, strict=True):
        reply, batch = Dictated(source, target, model.settings.override({"num_beams": 1})), model.batch()
        batch.add(reply)
        while len(batch):
            batch.step()
        found.append(np.concatenate(reply.logits))
    return found
