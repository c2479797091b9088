"""Replies decoded alone beside those of the same requests in a batch that others join and leave at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.engine.settings import DecodingSettings
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.service.engine.comparison import Comparison, Difference
from tests.service.engine.trace import TracedReply, parting_gap, trace_engine

MAX_ROWS = 48
BEAMS = (1, 2, 4, 10)


@dataclass
class Outcome(Comparison):
    """Result of a run.

    Attributes:
        steps: of the shared batch.
        removed: replies that were given up midway, and begun again later.
        most_together: requests in the fullest step.
    """

    steps: int = 0
    removed: int = 0
    most_together: int = 0

    def __str__(self) -> str:
        return f"{super().__str__()}; up to {self.most_together} together, {self.removed} removed midway"


def compare_alone_and_among(
    model: ORTBlenderbotForConditionalGeneration,
    sources: Sequence[Sequence[int]],
    seed: int,
    settings: DecodingSettings | None = None,
) -> Outcome:
    """Decode each source by itself, then all of them in one running batch, at random widths, joining at random steps.

    Args:
        model: an exported model.
        sources: token ids, end token included.
        seed: of widths, admissions and removals.
        settings: but for the beams; None takes the model's own.
    """
    draw = random.Random(seed)
    base = settings or model.settings
    requests = [(source, replace(base, num_beams=draw.choice(BEAMS))) for source in sources]
    outcome = Outcome(replies=len(requests))
    together = _among(model, requests, draw, outcome)
    for (source, decoding), among in zip(requests, together, strict=True):
        (alone,) = trace_engine(model, [source], decoding)
        if alone.result != among.result:
            replies = tuple(alone.result), tuple(among.result)
            gap = parting_gap(alone.trace, among.trace, replies)
            outcome.differences.append(Difference(tuple(source), decoding, *replies, gap))
    return outcome


def _among(
    model: ORTBlenderbotForConditionalGeneration,
    requests: Sequence[tuple[Sequence[int], DecodingSettings]],
    draw: random.Random,
    outcome: Outcome,
) -> list[TracedReply]:
    batch = model.batch()
    replies = [TracedReply(*request) for request in requests]
    waiting = list(range(len(requests)))
    running: list[int] = []
    while waiting or running:
        for _ in range(draw.choice((0, 0, 1, 3)) if running else 1):
            rows = sum(replies[number].settings.num_beams for number in running)
            if waiting and rows + replies[waiting[-1]].settings.num_beams <= MAX_ROWS:
                running.append(waiting.pop())
                batch.add(replies[running[-1]])
        batch.step()
        outcome.steps += 1
        outcome.most_together = max(outcome.most_together, len(running))
        running = [number for number in running if not replies[number].finished]
        if running and draw.random() < 0.05:
            number = running.pop(draw.randrange(len(running)))
            batch.remove(replies[number])
            replies[number] = TracedReply(*requests[number])
            waiting.insert(0, number)
            outcome.removed += 1
    return replies
