"""When a request that is refused now should come again, by the measured work of a reply."""

from __future__ import annotations

# Smoothing factor of the measured work of a reply.
ALPHA = 0.1


class RetryAfter:
    """Learns what a reply takes."""

    def __init__(self) -> None:
        self._work_s = 1.0

    def learn(self, work_s: float) -> None:
        """Note the seconds of work that a finished reply has taken."""
        self._work_s += ALPHA * (work_s - self._work_s)

    def seconds(self, ahead: int) -> int:
        """Seconds, at least 1, until a request that comes now could be through.

        Args:
            ahead: requests that wait or run before it.
        """
        return max(1, round(ahead * self._work_s))
