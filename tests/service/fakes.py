"""A model without a network behind it, and engines around it, obeying the interfaces of the real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence as Ids

import numpy as np

from service.engine.engine import Engine
from service.engine.generation import TokenStream
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings

REPLY = [1, 72, 76, 2]
VOCABULARY = 300
STEP_S = 0.002


class FakeModel:
    """A model that always says `REPLY`, one token a step, and notes what it is asked.

    Attributes:
        settings: greedy, or of as many beams as `beams` says.
        gate: while it is shut, steps bring no token.
        sources: what was encoded, in order.
        steps: number of sequences in each step that brought tokens.
        poison: a source that holds this token fails the step.
        unreadable: a source that holds this token fails the encoder.
        encode_s: seconds that the encoder takes.
        death: raised in place of the next step, whatever it is.
    """

    def __init__(self, *, beams: int = 1, reply: Ids[int] = REPLY, encode_s: float = 0.0) -> None:
        self.settings = DecodingSettings(num_beams=beams, max_length=max(12, len(reply)))
        self.reply = list(reply)
        self.gate = threading.Event()
        self.gate.set()
        self.sources: list[list[int]] = []
        self.steps: list[int] = []
        self.poison: int | None = None
        self.unreadable: int | None = None
        self.encode_s = encode_s
        self.death: BaseException | None = None
        self.begun = threading.Semaphore(0)

    def batch(self) -> FakeBatch:
        return FakeBatch(self)

    def reply_to(self, source: Ids[int]) -> list[int]:
        """What it says to a source."""
        return self.reply

    def wait_begun(self) -> None:
        """Wait until one more reply has begun."""
        assert self.begun.acquire(timeout=10), "no reply began"


class FakeBatch:
    """The running batch of a `FakeModel`."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model
        self.sequences: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        time.sleep(self._model.encode_s)
        if self._model.unreadable in sequence.source:
            raise RuntimeError("the secret reason")
        self._model.sources.append(sequence.source.tolist())
        self.sequences.append(sequence)
        self._model.begun.release()

    def remove(self, sequence: Sequence) -> None:
        self.sequences.remove(sequence)

    def step(self) -> list[Sequence]:
        model = self._model
        time.sleep(STEP_S)
        if model.death is not None:
            raise model.death
        if any(model.poison in sequence.source for sequence in self.sequences):
            raise RuntimeError("the secret reason")
        if not model.gate.is_set():
            return []
        model.steps.append(len(self.sequences))
        finished = []
        for sequence in self.sequences:
            rows, length = sequence.search.tokens.shape
            scores = np.tile(-50 - np.arange(VOCABULARY, dtype=np.float32), (rows, 1))
            reply = model.reply_to(sequence.source.tolist())
            scores[:, reply[min(length, len(reply) - 1)]] = 0.0
            sequence.search.advance(scores)
            if sequence.finished:
                finished.append(sequence)
        for sequence in finished:
            self.sequences.remove(sequence)
        return finished


class FakeEngine(Engine):
    """The real engine on a `FakeModel`, which can be made to refuse.

    Attributes:
        model: what it serves.
        error: raised in place of accepting a request, when it is set.
        gate: lets replies through while it is set.
        begun: released once for each request.
    """

    def __init__(
        self, model: FakeModel | None = None, *, queue_size: int = 32, max_rows: int = 40, reply_cache: int = 0
    ) -> None:
        self.model = model or FakeModel()
        self.error: Exception | None = None
        self.gate = self.model.gate
        self.begun = threading.Semaphore(0)
        super().__init__(self.model, queue_size=queue_size, max_rows=max_rows, reply_cache=reply_cache)

    def submit(
        self, source: Ids[int], *, timeout_s: float, settings: DecodingSettings | None = None, client: str = ""
    ) -> TokenStream:
        self.begun.release()
        if self.error is not None:
            raise self.error
        return super().submit(source, timeout_s=timeout_s, settings=settings, client=client)

    def wait_begun(self) -> None:
        """Wait until one more request has come."""
        assert self.begun.acquire(timeout=10), "no request came"
