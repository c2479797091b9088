"""Where it is noticed that a client has gone away: nobody reads its reply, and the work for it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.errors import Cancelled

# Seconds between two looks of whoever waits for something.
POLL_S = 0.1
# Set by the web server, and by `deploy.bridge` on Ray's.
DISCONNECTED = "waitress.client_disconnected"
# Set by our server: whether the client has ended its side, and nothing has been sent since that would tell whether it
# is still there.
DOUBTFUL = "chatbot.client_doubtful"


def watch(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Tells of the client of a WSGI request, from any thread, whether it has gone away."""
    gone: Callable[[], bool] = environ.get(DISCONNECTED, lambda: False)
    return gone


def doubt(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Tells of the client of a WSGI request whether only sending it something can show that it has gone away."""
    doubtful: Callable[[], bool] = environ.get(DOUBTFUL, lambda: False)
    return doubtful


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
