"""How many messages one client may send."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from flask import Flask, Request, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.errors import TooManyRequests

Network = IPv4Network | IPv6Network
LIMITED = frozenset({"/chatbot"})


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


def client_address(asked: Request, trusted_proxies: Sequence[Network]) -> str:
    """The address that a request came from: the last one named that is no trusted proxy."""
    hops = [asked.remote_addr or "", *reversed(asked.headers.get("X-Forwarded-For", "").split(","))]
    client = hops[0]
    for hop in map(str.strip, hops):
        if not hop:
            break
        client = hop
        if not _trusted(hop, trusted_proxies):
            break
    return client


def _network(address: str) -> str:
    """What one client has: an IPv4 address, or the /64 around an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ip_network(f"{address}/64", strict=False))


def _trusted(address: str, proxies: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in proxies)
