"""Every request is counted and gets a line in the log, once its last byte has been written, as long as its client does
not fill the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from flask import Response, g, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from service import logs
from service.http.health import HEALTH
from service.http.proxies import Network, client_address
from service.metrics import Metrics

logger = logging.getLogger(__name__)

# What comes every few seconds from machines, or with every page, would bury the rest.
QUIET = HEALTH | {"/metrics"}
QUIET_FOLDER = "/static/"
LINES_A_MINUTE = 40
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class LineLimit:
    """How many lines each client may leave in the log. Safe for many threads."""

    def __init__(self, per_minute: int = LINES_A_MINUTE) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._lines = RateLimitItemPerMinute(per_minute)
        self._last = RateLimitItemPerMinute(1)

    def allow(self, client: str) -> bool:
        """Whether the request at hand may leave one; the first that may not leaves a line that says so."""
        if self._limiter.hit(self._lines, client):
            return True
        if self._limiter.hit(self._last, "last", client):
            logger.warning("Requests of %s get no more log lines for a minute; /metrics counts them.", client)
        return False


def begin(metrics: Metrics, request_id: str) -> None:
    """Note that the request at hand has come."""
    g.started = time.monotonic()
    g.log = logs.begin(request_id)
    metrics.in_progress.inc()


def end(metrics: Metrics, response: Response, trusted_proxies: Sequence[Network], line_limit: LineLimit) -> None:
    """Count the request at hand and write its line, when `response` has been sent.

    The line holds the route and not the path, since the path of a conversation gives it away.
    """
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in METHODS else "other"
    client = client_address(request, trusted_proxies)
    network = g.client
    started, log, code = g.started, g.log, response.status_code

    def finish() -> None:
        seconds = time.monotonic() - started
        metrics.in_progress.dec()
        metrics.requests.labels(route, str(code)).inc()
        metrics.duration.labels(route).observe(seconds)
        if route in QUIET or route.startswith(QUIET_FOLDER):
            return
        # Faults of the service itself are rare, and each must be found in the log.
        if (code < 500 or code == 503) and not line_limit.allow(network):
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
