"""Who is let in: how many messages may be at work at once, and how many of one client."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded
from service.settings import ServiceConfig


def max_at_work(config: ServiceConfig) -> int:
    """Messages that can be at work at once: those that run, those that wait, and as many behind one of their own."""
    return config.rows + 2 * config.queue


def reserved_for_others(config: ServiceConfig) -> int:
    """How many of those messages one client leaves to others at least."""
    return max(1, config.queue // 2)


class Admission:
    """Counts the messages at work; each takes a thread. Safe for many threads."""

    def __init__(self, config: ServiceConfig, retry_after_s: Callable[[], int]) -> None:
        """
        Args:
            config: settings of the service.
            retry_after_s: seconds after which a message that is refused now should come again.
        """
        self._max = max_at_work(config)
        self._max_of_one = self._max - reserved_for_others(config)
        self._retry_after_s = retry_after_s
        self._at_work = Counter[str]()
        self._change = threading.Condition()

    @contextmanager
    def admit(self, client: str) -> Iterator[None]:
        """Count a message as at work for as long as the block runs.

        Args:
            client: whose it is.

        Raises:
            Overloaded: more would take the threads that answer everything else, or the places of other clients.
        """
        with self._change:
            if self._at_work.total() >= self._max or self._at_work[client] >= self._max_of_one:
                seconds = self._retry_after_s()
                raise Overloaded(
                    f"Too many requests are waiting; try again in {seconds} seconds.", retry_after_s=seconds
                )
            self._at_work[client] += 1
        try:
            yield
        finally:
            with self._change:
                self._at_work[client] -= 1
                self._at_work += Counter()
                self._change.notify_all()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for all messages at work; False when some still are after `timeout_s`."""
        with self._change:
            return self._change.wait_for(lambda: not self._at_work, timeout_s)
