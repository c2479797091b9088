"""The two ways to put a server under load: visitors that wait for their replies, and visitors that do not."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.client import Exchange

PAUSE_AFTER_ERROR_S = 0.5
NOT_SENT = "not sent"
WARM_UP_VISITORS = 4

Ask = Callable[[int, float, float], Exchange]
"""Sends the request of a number; the other two are when the run began and when the request was due, both moments of
`time.perf_counter`."""


@dataclass(frozen=True)
class Limit:
    """When a run sends its last request; all that were sent are waited for.

    Attributes:
        seconds: none is sent later than that after the beginning; None for no such limit.
        requests: no more than that are sent; None for no such limit.
    """

    seconds: float | None = None
    requests: int | None = None

    def passed(self, number: int, seconds: float) -> bool:
        """Whether request `number`, counted from 0, `seconds` after the beginning is one too many."""
        too_late = self.seconds is not None and seconds >= self.seconds
        return too_late or (self.requests is not None and number >= self.requests)


@dataclass(frozen=True)
class ClosedLoop:
    """Visitors that each send the next request when the reply to the last one has come.

    Attributes:
        clients: how many there are.
    """

    clients: int

    def __str__(self) -> str:
        return f"{self.clients} client{'s' * (self.clients > 1)}"

    @property
    def most(self) -> int:
        """Requests under way at the most."""
        return self.clients

    @property
    def visitors(self) -> int:
        """How many ask at once in a warm-up."""
        return self.clients

    def run(self, ask: Ask, limit: Limit, seed: str) -> list[Exchange]:
        """Send requests until the limit and wait for the last reply. After an error a visitor pauses for a moment.

        Args:
            ask: sends one request.
            limit: of the run.
            seed: has no bearing on this loop.
        """
        exchanges: list[Exchange] = []
        crew = _Crew()
        numbers = itertools.count()
        began = time.perf_counter()

        def visit() -> None:
            while True:
                number, due = next(numbers), time.perf_counter()
                if limit.passed(number, due - began):
                    return
                exchanges.append(ask(number, began, due))
                if exchanges[-1].error:
                    time.sleep(PAUSE_AFTER_ERROR_S)

        for _ in range(self.clients):
            crew.start(visit)
        crew.join()
        return sorted(exchanges, key=lambda exchange: exchange.start_s)


@dataclass(frozen=True)
class OpenLoop:
    """Visitors that come by chance, whatever the server does: a Poisson process.

    Attributes:
        rate: requests a second, on average.
        most: requests under way at the most; one that comes on top of them is not sent, which counts as an error.
    """

    rate: float
    most: int

    def __str__(self) -> str:
        return f"{self.rate:g} requests a second"

    @property
    def visitors(self) -> int:
        """How many ask at once in a warm-up."""
        return min(self.most, WARM_UP_VISITORS)

    def run(self, ask: Ask, limit: Limit, seed: str) -> list[Exchange]:
        """Send requests until the limit, each on a thread of its own, and wait for the last reply.

        Args:
            ask: sends one request.
            limit: of the run.
            seed: of the moments at which the requests are due.
        """
        exchanges: list[Exchange] = []
        crew = _Crew()
        room = threading.Semaphore(self.most)
        began = time.perf_counter()

        def visit(number: int, due: float) -> None:
            try:
                exchanges.append(ask(number, began, due))
            finally:
                room.release()

        for number, offset in enumerate(arrivals(self.rate, limit, seed)):
            time.sleep(max(0.0, began + offset - time.perf_counter()))
            if room.acquire(blocking=False):
                crew.start(visit, number, began + offset)
            else:
                exchanges.append(Exchange(offset, 0.0, error=NOT_SENT, detail=f"{self.most} were under way"))
        crew.join()
        return sorted(exchanges, key=lambda exchange: exchange.start_s)


Loop = ClosedLoop | OpenLoop


def arrivals(rate: float, limit: Limit, seed: str) -> Iterator[float]:
    """Moments of a Poisson process, in seconds after its beginning.

    Args:
        rate: arrivals a second, on average.
        limit: after which there are no more.
        seed: the same seed gives the same moments.
    """
    generator = random.Random(seed)
    moment = 0.0
    for number in itertools.count():
        moment += generator.expovariate(rate)
        if limit.passed(number, moment):
            return
        yield moment


class _Crew:
    """Threads that an interrupt does not wait for; what one of them fails with is raised by `join`."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []

    def start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=self._do, args=(work, *arguments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _do(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception as error:
            self._failures.append(error)
