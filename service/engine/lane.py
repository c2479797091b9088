"""A running batch, the requests in it, and the time that it has had."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from service.engine.generation import Generation
from service.engine.sequence import Sequence


class Steps(Protocol):
    """What a lane needs of a running batch; see `service.engine.batch.Batch`."""

    def add(self, sequence: Sequence) -> None: ...

    def remove(self, sequence: Sequence) -> None: ...

    def step(self) -> list[Sequence]: ...


class Lane:
    """Requests that are computed together.

    Attributes:
        running: the requests.
        used_s: seconds of work, each counted once for all clients that had a part in it.
        latest_s: seconds of the latest step, with who joined before it; 0 once all have left.
    """

    def __init__(self, steps: Callable[[], Steps]) -> None:
        """
        Args:
            steps: makes an empty batch.
        """
        self.running: list[Generation] = []
        self.used_s = 0.0
        self.latest_s = 0.0
        self._steps = steps
        self._batch: Steps | None = None

    @property
    def rows(self) -> int:
        """Rows that the next step computes."""
        return sum(generation.rows for generation in self.running)

    def begin(self, generation: Generation) -> None:
        """Encode one of the requests, which takes part from the next step on."""
        if self._batch is None:
            self._batch = self._steps()
        self._batch.add(generation.sequence)

    def drop_done(self) -> None:
        """Let go of requests that have ended before they were finished."""
        for generation in [generation for generation in self.running if generation.done]:
            self.running.remove(generation)
            if self._batch is not None:
                self._batch.remove(generation.sequence)

    def step(self) -> list[Generation]:
        """Compute one token of every request; returns those that are finished and have left."""
        if not self.running or self._batch is None:
            return []
        started = time.monotonic()
        finished = self._batch.step()
        share = (time.monotonic() - started) / len(self.running)
        for generation in self.running:
            generation.advanced(share)
        ended = [generation for generation in self.running if generation.sequence in finished]
        self.running = [generation for generation in self.running if generation not in ended]
        return ended

    def fail(self, error: Exception) -> None:
        """End all requests with an error; the next ones get a fresh batch."""
        failed, self.running = self.running, []
        self._batch = None
        for generation in failed:
            generation.fail(error)
