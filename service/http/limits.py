"""How many messages one client may send, and how often it may ask for a conversation."""

from __future__ import annotations

import math
import time

from flask import Flask, current_app, g, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.errors import TooManyRequests
from service.http.body import COUNTS, MESSAGES

CONVERSATIONS = "/sessions/"
EXTENSION = "chatbot.limit"
# Counts of tokens allowed for each message: pages count while someone types, and a count costs far less than a message.
COUNTS_PER_MESSAGE = 10


class Limit:
    """Messages a minute of each client. Safe for many threads."""

    def __init__(self, per_minute: int, noun: str = "messages") -> None:
        """
        Args:
            per_minute: messages of one client in a minute.
            noun: what is counted.
        """
        self._per_minute = per_minute
        self._noun = noun
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, client: str, messages: int) -> None:
        """Count messages of a client.

        Raises:
            TooManyRequests: they are more than it has left; none of them is counted.
        """
        if self._limiter.hit(self._item, client, cost=messages):
            return
        seconds = max(1, math.ceil(self._limiter.get_window_stats(self._item, client).reset_time - time.time()))
        raise TooManyRequests(
            f"More than {self._per_minute} {self._noun} a minute came from your address; "
            f"try again in {seconds} seconds.",
            retry_after_s=seconds,
        )


def register(app: Flask, *, per_minute: int) -> None:
    """Refuse messages over the limit, and reading and forgetting conversations, before anything else is done for them.

    Args:
        app: whose requests are counted.
        per_minute: messages of one client in a minute; 0 for no limit.
    """
    if not per_minute:
        return
    app.extensions[EXTENSION] = Limit(per_minute)
    counts = Limit(COUNTS_PER_MESSAGE * per_minute, "counts of tokens")

    @app.before_request
    def refuse() -> None:
        message = request.method == "POST" and request.path in MESSAGES
        if message or (request.method != "OPTIONS" and request.path.startswith(CONVERSATIONS)):
            count(1)
        elif request.method == "POST" and request.path == COUNTS:
            counts.count(g.client, 1)


def count(messages: int) -> None:
    """Count more messages of the client at hand, who asks for several replies in one.

    Raises:
        TooManyRequests: they are too many.
    """
    limit: Limit | None = current_app.extensions.get(EXTENSION)
    if limit is not None and messages:
        limit.count(g.client, messages)
