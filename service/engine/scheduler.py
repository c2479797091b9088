"""Who runs: first come, first served, each client its share, joining at the next step and leaving when finished."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from service.engine.errors import DeadlineExceeded, EngineError, EngineFault, Overloaded
from service.engine.generation import Generation
from service.engine.lane import Lane, Steps
from service.engine.retry_after import RetryAfter

logger = logging.getLogger(__name__)

# Share of the rows above which a client has a batch of its own while others are there.
GREEDY_SHARE = 0.25
# How many times as much time as such a batch gets, each client beside it gets.
GREEDY_SLOWDOWN = 3


class Scheduler:
    """Holds the requests that wait and those that run.

    Any thread may `submit`; one thread alone calls the rest. Waiting requests join in the order they came, those of
    clients with fewer rows at work first, one before each step, so that a newcomer delays the running ones by one
    encoder run at most.

    One client cannot keep others waiting: while others are there, a client with many requests has them computed in a
    batch of their own, and the two batches share the time by the number of their clients, with less of it for that one.
    The next step is that of the batch which will have had the least time after it.
    When too many wait, the latest of the client that has most of them makes room.
    """

    def __init__(self, steps: Callable[[], Steps], *, max_rows: int, max_waiting: int) -> None:
        """
        Args:
            steps: makes an empty batch.
            max_rows: rows (beams times requests) that a step may have; a request that is wider runs alone.
            max_waiting: requests that may wait for rows; further ones are refused.
        """
        self._lanes = (Lane(steps), Lane(steps))
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._waiting: deque[Generation] = deque()
        self._retry_after = RetryAfter()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batches."""
        return len(self._running)

    @property
    def rows(self) -> int:
        """Rows that the running requests take."""
        return sum(lane.rows for lane in self._lanes)

    @property
    def retry_after_s(self) -> int:
        """Seconds until a request that comes now could be through."""
        return self._retry_after.seconds(self.waiting + self.running)

    def submit(self, generation: Generation) -> None:
        """Let a request wait for its turn.

        Raises:
            Overloaded: too many wait already.
        """
        displaced = None
        with self._lock:
            rows, left_out = self.rows, 0
            for other in self._waiting:
                rows += other.rows
                left_out += rows > self._max_rows
            if rows + generation.rows > self._max_rows and left_out >= self._max_waiting:
                displaced = self._displaced_by(generation.client)
                if displaced is None:
                    raise self._overloaded()
                self._waiting.remove(displaced)
            self._waiting.append(generation)
            generation.position = len(self._waiting)
        if displaced is not None:
            displaced.fail(self._overloaded())

    def advance(self) -> None:
        """Drop who is gone or too late, let one newcomer join, and compute one token of every reply of its batch.

        A newcomer that cannot join fails alone. A fault in a step fails the requests in it and no others; the next ones
        get a fresh batch.
        """
        lane = self._lanes[0]
        try:
            self._drop()
            for lane in self._lanes:
                lane.drop_done()
            lane, newcomer = self._next()
            greedy = self._greedy()
            started = time.monotonic()
            cost = _cost(lane, greedy)
            if newcomer is not None:
                self._begin(newcomer, lane)
            for generation in lane.step():
                self._retry_after.learn(generation.work_s)
                generation.finish()
        except Exception as error:
            lane.fail(_fault(error))
            raise
        lane.latest_s = time.monotonic() - started
        lane.used_s += cost * lane.latest_s
        for other in self._lanes:
            # Nobody saves up time, nor pays for what somebody before had.
            if not other.running:
                other.used_s = lane.used_s
                other.latest_s = 0.0

    def fail_all(self, error: Callable[[], EngineError]) -> None:
        """End every request, waiting or running, with an error of its own."""
        with self._lock:
            held = [*self._running, *self._waiting]
            for lane in self._lanes:
                lane.running = []
            self._waiting.clear()
        for generation in held:
            generation.fail(error())

    @property
    def _running(self) -> list[Generation]:
        return [generation for lane in self._lanes for generation in lane.running]

    def _drop(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = [generation for generation in self._waiting if generation.abandon(now)]
            for generation in gone:
                self._waiting.remove(generation)
        gone += [generation for generation in self._running if generation.abandon(now)]
        for generation in gone:
            generation.fail(DeadlineExceeded("There was no reply in time; try again."))

    def _next(self) -> tuple[Lane, Generation | None]:
        """The batch whose turn it is, and who joins it."""
        with self._lock:
            rows = Counter[str]()
            for generation in self._running:
                rows[generation.client] += generation.rows
            greedy = self._greedy()
            order = sorted(self._waiting, key=lambda generation: rows[generation.client])
            # A long step waits until it is due as a whole, so that the short ones of others are not behind it.
            due = {lane: lane.used_s + _cost(lane, greedy) * lane.latest_s for lane in self._lanes}
            for lane in sorted(self._lanes, key=lambda lane: (due[lane], lane.rows)):
                newcomer = next((generation for generation in order if self._lane(generation, greedy) is lane), None)
                if newcomer is not None and lane.running and lane.rows + newcomer.rows > self._max_rows:
                    newcomer = None
                if newcomer is not None:
                    self._waiting.remove(newcomer)
                    order.remove(newcomer)
                    newcomer.position = 0
                    lane.running.append(newcomer)
                if lane.running:
                    for position, generation in enumerate(order, 1):
                        generation.position = position
                    return lane, newcomer
        return self._lanes[0], None

    def _greedy(self) -> frozenset[str]:
        """Clients that ask for many rows while others are there."""
        pending = [*self._running, *self._waiting]
        clients = Counter(generation.client for generation in pending)
        if len(clients) < 2:
            return frozenset()
        rows = Counter[str]()
        for generation in pending:
            rows[generation.client] += generation.rows
        return frozenset(name for name in clients if clients[name] > 1 and rows[name] > GREEDY_SHARE * self._max_rows)

    def _lane(self, generation: Generation, greedy: frozenset[str]) -> Lane:
        """Where a request belongs: with those of its kind, and otherwise where most are."""

        def crowded(lane: Lane) -> int:
            return sum(other.rows for other in lane.running if other.client in greedy)

        if generation.client in greedy:
            return max(self._lanes, key=lambda lane: (crowded(lane), -lane.rows))
        return min(self._lanes, key=lambda lane: (crowded(lane), -lane.rows))

    def _displaced_by(self, client: str) -> Generation | None:
        """Who makes room for another one of a client: the latest of the one with most that wait, if they are more."""
        waiting = Counter(generation.client for generation in self._waiting)
        most = max(waiting, key=lambda name: waiting[name], default=client)
        if waiting[most] <= waiting[client] + 1:
            return None
        return next((other for other in reversed(self._waiting) if other.client == most and not other.shared), None)

    def _overloaded(self) -> Overloaded:
        seconds = self.retry_after_s
        return Overloaded(f"Too many requests are waiting; try again in {seconds} seconds.", retry_after_s=seconds)

    def _begin(self, generation: Generation, lane: Lane) -> None:
        generation.begin()
        try:
            lane.begin(generation)
        except Exception as error:
            logger.exception("a request could not join the batch")
            lane.running.remove(generation)
            generation.fail(_fault(error))
        else:
            generation.note_encoded()


def _cost(lane: Lane, greedy: frozenset[str]) -> float:
    """As how much a second of a batch counts, for each of its clients."""
    clients = {generation.client for generation in lane.running}
    return (GREEDY_SLOWDOWN if clients & greedy else 1) / max(1, len(clients))


def _fault(cause: Exception) -> EngineFault:
    fault = EngineFault("The reply could not be computed; try again.")
    fault.__cause__ = cause
    return fault
