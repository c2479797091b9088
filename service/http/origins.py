"""Which page a request comes from, as far as browsers say so."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request

from service.http.proxies import Network, over_tls
from service.values import ANY_ORIGIN, origin


def familiar(http_request: Request, origins: Sequence[str], trusted_proxies: Sequence[Network]) -> bool:
    """Whether a request comes from a page of our own origin or of one that was named, or from no page at all.

    Other pages, even those of the same site or host, may not use what a browser remembers for us.

    Args:
        http_request: the request.
        origins: that were named; `ANY_ORIGIN` names none.
        trusted_proxies: whose `X-Forwarded-Proto` is believed.
    """
    page = http_request.headers.get("Origin")
    if page is not None and tuple(origins) != ANY_ORIGIN and origin(page) in origins:
        return True
    site = http_request.headers.get("Sec-Fetch-Site", "none").strip().lower()
    if site != "none":
        return site == "same-origin"
    scheme = "https" if over_tls(http_request, trusted_proxies) else "http"
    ours = origin(f"{scheme}://{http_request.headers.get('Host', '')}")
    return page is None or (ours is not None and origin(page) == ours)
