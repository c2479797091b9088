"""Signals that end an export, at a place where they leave nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, key) for key in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, key)]  # Windows: fewer


def listen() -> None:
    """Let signals raise KeyboardInterrupt from now on."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


@contextmanager
def held() -> Iterator[list[int]]:
    """Signals that arrive while the block runs do nothing but stand in the list that it is given."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Not in the middle of a finaliser, which would swallow the exception: a moment later then."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
