"""What a search weighed at each step, to tell how near it came to another search where the two first part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from service.engine.sequence import Sequence as Reply
from service.engine.settings import DecodingSettings
from service.ort_model import ORTBlenderbotForConditionalGeneration

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ids = tuple[int, ...]
# Candidates noted at each step, as a multiple of those that a beam search looks at.
MARGIN = 4


@dataclass(frozen=True)
class Step:
    """Hypotheses of one step, with their total scores in nats.

    Attributes:
        extended: those that the step began with.
        weighed: those near the top, best first; none that is forbidden.
        running: those that go on.
        ended: those that ended among the best.
    """

    extended: frozenset[Ids]
    weighed: Mapping[Ids, float]
    running: frozenset[Ids]
    ended: frozenset[Ids]


@dataclass
class Trace:
    """The steps of one search."""

    settings: DecodingSettings
    steps: list[Step] = field(default_factory=list)

    def add(self, tokens: Sequence[Ids], totals: NDArray[np.float64]) -> None:
        """Note one step.

        Args:
            tokens: hypotheses that it extended.
            totals: score of each extended by each token, bans and penalties included [hypothesis, vocabulary].
        """
        beams, settings = self.settings.num_beams, self.settings
        best = np.argsort(-totals, axis=None, kind="stable")[: MARGIN * 2 * beams]
        weighed = {
            (*tokens[place // totals.shape[1]], int(place % totals.shape[1])): float(totals.flat[place])
            for place in best
            if math.isfinite(totals.flat[place])
        }
        full = len(tokens[0]) + 1 >= settings.max_length
        ended = {ids for ids in weighed if full or ids[-1] == settings.eos_token_id}
        running = [ids for ids in islice(weighed, 2 * beams) if ids not in ended][:beams]
        self.steps.append(
            Step(frozenset(tokens), weighed, frozenset(running), frozenset(islice(weighed, beams)) & ended)
        )

    def total(self, reply: Sequence[int]) -> float:
        """Total score of a finished reply; minus infinity when it was not near the top."""
        place = len(reply) - 2
        return self.steps[place].weighed.get(tuple(reply), -math.inf) if place < len(self.steps) else -math.inf


def parting_gap(first: Trace, second: Trace, replies: tuple[Sequence[int], Sequence[int]]) -> float:
    """Distance in total score (nats) of the hypotheses on which two searches first disagree, as the first weighed them.

    Infinite where the first forbade one of them, or had it far from the best.

    Args:
        first: the reference.
        second: the other search, with the same settings.
        replies: token ids of the two replies, without padding.
    """
    looked_at = 2 * first.settings.num_beams
    before: Mapping[Ids, float] = {}
    for mine, other in zip(first.steps, second.steps, strict=False):
        if mine.extended != other.extended:
            swapped = zip(mine.extended - other.extended, other.extended - mine.extended, strict=False)
            return max((abs(before.get(a, math.inf) - before.get(b, -math.inf)) for a, b in swapped), default=math.inf)
        before = mine.weighed
        if (mine.running, mine.ended) != (other.running, other.ended):
            pairs = zip(islice(mine.weighed, looked_at), islice(other.weighed, looked_at), strict=False)
            gaps = [abs(mine.weighed[a] - mine.weighed.get(b, -math.inf)) for a, b in pairs if a != b]
            return max(gaps, default=math.inf)
    if math.inf in (totals := [-first.total(reply) for reply in replies]):
        return math.inf
    lengths, penalty = [len(reply) - 1 for reply in replies], first.settings.length_penalty
    scores = [total / length**penalty for total, length in zip(totals, lengths, strict=True)]
    return float(abs(scores[0] - scores[1]) * max(lengths) ** penalty)


class TracedReply(Reply):
    """A sequence whose search notes its steps in `trace`."""

    def __init__(self, source: Sequence[int], settings: DecodingSettings) -> None:
        super().__init__(list(source), settings)
        self.trace = Trace(settings)
        advance = self.search.advance

        def traced(scores: NDArray[np.float32]) -> NDArray[np.intp]:
            tokens = [tuple(row) for row in self.search.tokens.tolist()]
            place = len(self.trace.steps)
            parents = advance(scores)
            # A forced token is appended within `advance`, and its step noted before this one.
            self.trace.add(tokens, scores.astype(np.float64))
            self.trace.steps.insert(place, self.trace.steps.pop())
            return parents

        self.search.advance = traced  # type: ignore[method-assign]


def trace_engine(
    model: ORTBlenderbotForConditionalGeneration, sources: Sequence[Sequence[int]], settings: DecodingSettings
) -> list[TracedReply]:
    """Decode sources together."""
    batch = model.batch()
    replies = [TracedReply(source, settings) for source in sources]
    for reply in replies:
        batch.add(reply)
    while len(batch):
        batch.step()
    return replies


def trace_transformers(
    model: Any, sources: Sequence[Sequence[int]], settings: DecodingSettings, arguments: Mapping[str, Any]
) -> list[Trace]:
    """Let `generate` of transformers decode sources together and return the trace of each.

    Args:
        model: of torch or stock ONNX.
        sources: token ids.
        settings: what the arguments and the model's own settings come to.
        arguments: of `generate`.
    """
    recorder = _Recorder(len(sources), settings)
    ids, mask = padded(sources, settings.pad_token_id)
    with torch.inference_mode():
        model.generate(
            input_ids=ids, attention_mask=mask, logits_processor=LogitsProcessorList([recorder]), **arguments
        )
    return recorder.traces


class _Recorder(LogitsProcessor):  # type: ignore[misc]
    """Comes after all other processors and notes what they leave."""

    def __init__(self, requests: int, settings: DecodingSettings) -> None:
        self.traces = [Trace(settings) for _ in range(requests)]
        self._beams = settings.num_beams

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for number, trace in enumerate(self.traces):
            rows = slice(number * self._beams, (number + 1) * self._beams)
            hypotheses = [tuple(row) for row in input_ids[rows].tolist()]
            totals = scores[rows].double().numpy()
            if not trace.steps:
                hypotheses, totals = hypotheses[:1], totals[:1]
            elif self._beams > 1:
                before = trace.steps[-1].weighed
                totals = totals + np.array([[before.get(ids, -math.inf)] for ids in hypotheses])
            trace.add(hypotheses, totals)
        return scores


def padded(sources: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [batch, longest], padded on the right, and their attention mask."""
    rows = [torch.tensor(list(source)) for source in sources]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids, mask
