"""Whether the client that waits for a reply is still there."""

from __future__ import annotations

from collections.abc import Callable

from flask import request

# Set by the web server, and by `deploy.bridge` on Ray's.
DISCONNECTED = "waitress.client_disconnected"


def departure() -> Callable[[], bool]:
    """Tells of the client of the request at hand, from any thread, whether it has gone away."""
    told: Callable[[], bool] = request.environ.get(DISCONNECTED, lambda: False)
    return told
