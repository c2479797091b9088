"""Names under which a service that only this machine can reach may be asked.

A page may have its own name lead to this machine (DNS rebinding); the browser then takes the service for a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from flask import Flask, request

from service.errors import ForeignHost
from service.http.proxies import Network, parse_address

LOCAL = "localhost"
HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(:\d*)?", re.ASCII)


def register(app: Flask, *, host: str, origins: Sequence[str], trusted_proxies: Sequence[Network]) -> None:
    """Refuse requests under names that are not ours, if the address is one of this machine alone.

    Args:
        app: whose requests are looked at.
        host: that the service listens on.
        origins: whose pages may call; their hosts are ours as well.
        trusted_proxies: what comes through them comes under the names that they let through.
    """
    if not loopback(host):
        return
    names = {LOCAL, host.lower(), *(_name(origin.partition("://")[2]) for origin in origins)} - {""}

    @app.before_request
    def refuse() -> None:
        host_header = request.headers.get("Host")
        peer = parse_address(request.remote_addr or "")
        if host_header is None or (peer is not None and any(peer in network for network in trusted_proxies)):
            return
        name = _name(host_header)
        if name not in names and not loopback(name):
            raise ForeignHost(
                "This service answers at http://localhost only; a proxy before it is to be named in --trusted-proxies."
            )


def loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOCAL


def _name(host: str) -> str:
    """The name or address in a Host header, without its port or a dot at its end, which means the same; empty if there
    is none, or something else."""
    match = HOST.fullmatch(host.strip())
    return (match["address"] or match["name"]).lower().removesuffix(".") if match else ""
