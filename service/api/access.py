"""Every request is counted and gets a line in the log, once its last byte has been written."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flask import Response, g, request

from service import logs
from service.api.proxies import Network, client_address
from service.metrics import Metrics

# What comes every few seconds from machines, or with every page, would bury the rest.
QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics", "/static/<path:filename>"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def begin(metrics: Metrics, request_id: str) -> None:
    """Note that the request at hand has come."""
    g.started = time.monotonic()
    g.log = logs.begin(request_id)
    metrics.in_progress.inc()


def end(metrics: Metrics, response: Response, trusted_proxies: Sequence[Network]) -> None:
    """Count the request at hand and write its line, when `response` has been sent.

    The line holds the route and not the path, since the path of a conversation gives it away.
    """
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in METHODS else "other"
    client = client_address(request, trusted_proxies)
    started, log, code = g.started, g.log, response.status_code

    def finish() -> None:
        seconds = time.monotonic() - started
        metrics.in_progress.dec()
        metrics.requests.labels(route, str(code)).inc()
        metrics.duration.labels(route).observe(seconds)
        if route in QUIET:
            return
        size = {} if response.content_length is None else {"bytes": response.content_length}
        logs.finished(
            log,
            f"{method} {route} {code}",
            method=method,
            route=route,
            status=code,
            duration_s=round(seconds, 4),
            client=client,
            **size,
        )

    response.call_on_close(finish)
