"""Which page a request comes from, as far as browsers say so."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request

from service.http.proxies import Network, over_tls
from service.options import ANY_ORIGIN, origin


def familiar(asked: Request, origins: Sequence[str], trusted_proxies: Sequence[Network]) -> bool:
    """Whether a request comes from a page of our own origin or of one that was named, or from no page at all.

    Other pages, and be it of the same site or host, may not use what a browser remembers for us.

    Args:
        asked: the request.
        origins: that were named; `ANY_ORIGIN` names none.
        trusted_proxies: whose `X-Forwarded-Proto` is believed.
    """
    page = asked.headers.get("Origin")
    if page is not None and tuple(origins) != ANY_ORIGIN and origin(page) in origins:
        return True
    site = asked.headers.get("Sec-Fetch-Site", "none").strip().lower()
    if site != "none":
        return site == "same-origin"
    scheme = "https" if over_tls(asked, trusted_proxies) else "http"
    return page is None or origin(page) == origin(f"{scheme}://{asked.headers.get('Host', '')}")
