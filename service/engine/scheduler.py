"""Who runs: first come, first served, joining the running batch at the next step and leaving it when finished."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from service.engine.generation import Generation
from service.engine.sequence import Sequence
from service.errors import DeadlineExceeded, EngineFault, Overloaded, ServiceError

logger = logging.getLogger(__name__)

# How fast the measured time of a reply follows the latest one.
MEMORY = 0.1


class Steps(Protocol):
    """What the scheduler needs of a running batch; see `service.engine.batch.Batch`."""

    def add(self, sequence: Sequence) -> None: ...

    def remove(self, sequence: Sequence) -> None: ...

    def step(self) -> list[Sequence]: ...


class Scheduler:
    """Holds the requests that wait and those that run.

    Any thread may `submit`; one thread alone calls the rest. Waiting requests join in the order they came, one before
    each step, so that a newcomer delays the running ones by one encoder run at most, and none is overtaken.
    """

    def __init__(self, steps: Callable[[], Steps], *, most_rows: int, most_waiting: int) -> None:
        """
        Args:
            steps: makes an empty batch.
            most_rows: rows (beams times requests) that a step may have; a request that is wider runs alone.
            most_waiting: requests that may wait for rows; further ones are refused.
        """
        self._steps = steps
        self._batch: Steps | None = None
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._waiting: deque[Generation] = deque()
        self._running: list[Generation] = []
        self._work_s = 1.0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def rows(self) -> int:
        """Rows that the running requests take."""
        return sum(_width(generation) for generation in self._running)

    @property
    def retry_after_s(self) -> int:
        """Seconds until a request that comes now could be through: those before it times the measured work of one."""
        return max(1, round((self.waiting + self.running) * self._work_s))

    def submit(self, generation: Generation) -> None:
        """Let a request wait for its turn.

        Raises:
            Overloaded: too many wait already.
        """
        with self._lock:
            rows, left_out = self.rows, 0
            for other in self._waiting:
                rows += _width(other)
                left_out += rows > self._most_rows
            if rows + _width(generation) > self._most_rows and left_out >= self._most_waiting:
                seconds = self.retry_after_s
                raise Overloaded(
                    f"Too many requests are waiting; try again in {seconds} seconds.", retry_after_s=seconds
                )
            self._waiting.append(generation)

    def advance(self) -> None:
        """Drop who is gone or too late, let one newcomer join, and compute one token of every running reply.

        A newcomer that cannot join fails alone. A fault in a step fails the requests in it and no others; the next ones
        get a fresh batch.
        """
        try:
            self._drop()
            self._admit()
            self._step()
        except Exception as error:
            failed, self._running = self._running, []
            self._batch = None
            for generation in failed:
                generation.fail(_fault(error))
            raise

    def fail_all(self, error: Callable[[], ServiceError]) -> None:
        """End every request, waiting or running, with an error of its own."""
        with self._lock:
            held = [*self._running, *self._waiting]
            self._running = []
            self._waiting.clear()
        for generation in held:
            generation.fail(error())

    def _drop(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = [generation for generation in self._waiting if generation.abandon(now)]
            for generation in gone:
                self._waiting.remove(generation)
        gone += [generation for generation in self._running if generation.abandon(now)]
        for generation in gone:
            generation.fail(DeadlineExceeded("There was no reply in time; try again."))
        for generation in [generation for generation in self._running if generation.done]:
            self._running.remove(generation)
            if self._batch is not None:
                self._batch.remove(generation.sequence)

    def _admit(self) -> None:
        with self._lock:
            if not self._waiting or (self._running and self.rows + _width(self._waiting[0]) > self._most_rows):
                return
            generation = self._waiting.popleft()
            self._running.append(generation)
        generation.begin()
        try:
            if self._batch is None:
                self._batch = self._steps()
            self._batch.add(generation.sequence)
        except Exception as error:
            logger.exception("a request could not join the batch")
            self._running.remove(generation)
            generation.fail(_fault(error))
        else:
            generation.note_encoded()

    def _step(self) -> None:
        if not self._running or self._batch is None:
            return
        started = time.monotonic()
        finished = self._batch.step()
        share = (time.monotonic() - started) / len(self._running)
        for generation in self._running:
            generation.advanced(share)
        ended = [generation for generation in self._running if generation.sequence in finished]
        self._running = [generation for generation in self._running if generation not in ended]
        for generation in ended:
            self._work_s += MEMORY * (generation.work_s - self._work_s)
            generation.finish()


def _fault(cause: Exception) -> EngineFault:
    fault = EngineFault("The reply could not be computed; try again.")
    fault.__cause__ = cause
    return fault


def _width(generation: Generation) -> int:
    return generation.sequence.settings.num_beams
