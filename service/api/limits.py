"""How many messages one client may send."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flask import Flask, Request, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.errors import TooManyRequests

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
ADDRESS = re.compile(r"\[(?P<bracketed>[^]]+)\](:\d+)?|(?P<plain>[0-9.]+):\d+")
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


def client_address(asked: Request, trusted_proxies: Sequence[Network]) -> str:
    """The address that a request came from: the last one named that is no trusted proxy.

    A proxy that names something else than an address stands for its clients itself.
    """
    client = _address(asked.remote_addr or "")
    hops = reversed(asked.headers.get("X-Forwarded-For", "").split(","))
    while client is not None and any(client in network for network in trusted_proxies):
        hop = _address(next(hops, ""))
        if hop is None:
            break
        client = hop
    return str(client or asked.remote_addr)


def _address(text: str) -> Address | None:
    """An address as proxies write them: with a port or without, IPv4 in the clothes of IPv6 or not."""
    found = ADDRESS.fullmatch(text.strip())
    try:
        parsed = ip_address((found["bracketed"] or found["plain"]) if found else text.strip())
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _network(address: str) -> str:
    """What one client has: an IPv4 address, or the /64 around an IPv6 one."""
    parsed = _address(address)
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed is not None and parsed.version == 6 else address
