"""Engines and models without a network behind them, obeying the interfaces of the real ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from service.engine.engine import Generation

REPLY = [1, 72, 76, 2]


class FixedModel:
    """A model that always says the same."""

    def generate(self, source: Sequence[int], *, max_time_s: float) -> list[int]:
        return list(REPLY)


class FailingModel:
    """A model that fails for every source that holds `poison`, and answers the others."""

    def __init__(self, poison: int) -> None:
        self._poison = poison

    def generate(self, source: Sequence[int], *, max_time_s: float) -> list[int]:
        if self._poison in source:
            raise RuntimeError("the secret reason")
        return list(REPLY)


class GatedModel:
    """A model that waits in the middle of each reply until the gate is open or the time is over.

    Attributes:
        gate: lets replies through once it is set.
        begun: released once for each reply that has begun.
        sources: what was asked, in the order of the work.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.sources: list[list[int]] = []

    def generate(self, source: Sequence[int], *, max_time_s: float) -> list[int]:
        self.sources.append(list(source))
        self.begun.release()
        self.gate.wait(max_time_s)
        return list(REPLY)

    def wait_begun(self) -> None:
        """Wait until one more reply has begun."""
        assert self.begun.acquire(timeout=10), "no reply began"


class FakeEngine:
    """An engine that waits for its gate, open from the start, and then gives a fixed reply or raises `error`.

    Attributes:
        error: raised in place of the reply, when it is set.
        gate: lets replies through while it is set.
        begun: released once for each request.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)

    def generate(self, source: Sequence[int], *, timeout_s: float) -> Generation:
        self.begun.release()
        assert self.gate.wait(10), "the gate stayed shut"
        if self.error is not None:
            raise self.error
        return Generation(list(REPLY), 0.0, 0.0)

    def wait_begun(self) -> None:
        """Wait until one more request has come."""
        assert self.begun.acquire(timeout=10), "no request came"
