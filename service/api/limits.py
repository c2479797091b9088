"""How many messages one client may send."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from ipaddress import ip_network

from flask import Flask, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.api.proxies import Network, client_address, parse_address
from service.errors import TooManyRequests

LIMITED = frozenset({"/chatbot", "/v1/chat/completions"})


def register(app: Flask, *, per_minute: int, trusted_proxies: Sequence[Network]) -> None:
    """Refuse messages over the limit before anything else is done for them.

    Args:
        app: whose messages are counted.
        per_minute: messages of one client in a minute; 0 for no limit.
        trusted_proxies: whose `X-Forwarded-For` says the address.
    """
    if not per_minute:
        return
    limit = RateLimitItemPerMinute(per_minute)
    limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    @app.before_request
    def refuse() -> None:
        if request.method != "POST" or request.path not in LIMITED:
            return
        client = _network(client_address(request, trusted_proxies))
        if not limiter.hit(limit, client):
            seconds = max(1, math.ceil(limiter.get_window_stats(limit, client).reset_time - time.time()))
            raise TooManyRequests(
                f"More than {per_minute} messages a minute came from your address; try again in {seconds} seconds.",
                retry_after_s=seconds,
            )


def _network(address: str) -> str:
    """What one client has: an IPv4 address, or the /64 around an IPv6 one."""
    parsed = parse_address(address)
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed is not None and parsed.version == 6 else address
