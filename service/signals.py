"""SIGTERM and SIGINT, noticed whichever thread the system hands them to."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

STOPPING = (signal.SIGTERM, signal.SIGINT)


def on_stop(act: Callable[[], None]) -> None:
    """Call `act` in a thread of its own at each SIGTERM and each SIGINT from now on.

    The system may hand a signal to any thread, and Python runs handlers in the main one alone, which may sleep on. The
    number of a signal is written to the descriptor by the thread that took it, whichever it is.
    """
    received, sent = socket.socketpair()
    sent.setblocking(False)

    def listen() -> None:
        with received, sent:
            while number := received.recv(1):
                if number[0] in STOPPING:
                    act()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    signal.set_wakeup_fd(sent.fileno())
    for number in STOPPING:
        signal.signal(number, lambda *_: None)
