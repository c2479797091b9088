"""What is believed of the proxies that a request came through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from flask import Request

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
ADDRESS = re.compile(r"\[(?P<bracketed>[^]]+)\](:\d+)?|(?P<plain>[0-9.]+):\d+")


def client_address(http_request: Request, trusted_proxies: Sequence[Network]) -> str:
    """The address that a request came from: the last one named that is no trusted proxy.

    A proxy that names something else than an address stands for its clients itself.
    """
    client = parse_address(http_request.remote_addr or "")
    hops = reversed(http_request.headers.get("X-Forwarded-For", "").split(","))
    while client is not None and any(client in network for network in trusted_proxies):
        hop = parse_address(next(hops, ""))
        if hop is None:
            break
        client = hop
    return str(client or http_request.remote_addr)


def client_network(address: str) -> str:
    """What one client has: an IPv4 address, or the /64 around an IPv6 one."""
    parsed = parse_address(address)
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed is not None and parsed.version == 6 else address


def over_tls(http_request: Request, trusted_proxies: Sequence[Network]) -> bool:
    """Whether a request was sent over HTTPS, as far as the proxy in front of us may say so.

    Of several proxies the first one knows.
    """
    proxy = parse_address(http_request.remote_addr or "")
    trusted = proxy is not None and any(proxy in network for network in trusted_proxies)
    first, _, _ = http_request.headers.get("X-Forwarded-Proto", "").partition(",")
    return http_request.is_secure or (trusted and first.strip().lower() == "https")


def parse_address(text: str) -> Address | None:
    """An address as proxies write them: with a port or without, or as IPv4 mapped to IPv6."""
    match = ADDRESS.fullmatch(text.strip())
    try:
        parsed = ip_address((match["bracketed"] or match["plain"]) if match else text.strip())
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
