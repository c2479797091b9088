"""Where it is noticed that a client has gone away: nobody reads its reply, and the work for it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.errors import Cancelled

# Whoever waits for something looks this often.
POLL_S = 0.1
# Set by the web server, and by `deploy.bridge` on Ray's.
DISCONNECTED = "waitress.client_disconnected"


def watch(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Tells of the client of a WSGI request, from any thread, whether it has gone away."""
    gone: Callable[[], bool] = environ.get(DISCONNECTED, lambda: False)
    return gone


def check(gone: Callable[[], bool]) -> None:
    """Stop if the client has gone away.

    Raises:
        Cancelled: it has.
    """
    if gone():
        raise departed()


def departed() -> Cancelled:
    """What ends a request whose client has gone away."""
    return Cancelled("The client went away before its reply was complete.")
