"""The parent side: a chat server in a subprocess of its own, on a free port."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

from benchmarks import child
from benchmarks.errors import ServerError

LISTENING = re.compile(r"Listening on http://([\w.]+):(\d+)")
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
SETTINGS_PREFIX = "CHATBOT_"
START_TIMEOUT_S = 600.0
POLL_S = 0.1
PROBE_TIMEOUT_S = 10.0
LAST_WORDS_CHARS = 200
QUIET_S = 0.5
QUIET_SHARE = 0.05


class ServerProcess(child.Companion):
    """A running server, used as a context manager: leaving it ends the subprocess, at once when an exception leaves.

    Args:
        label: what error messages call it.
        command: program and arguments; it says `Listening on http://HOST:PORT` on stderr and answers `GET /readyz`.

    Attributes:
        host: address it listens on, once it is ready.
        port: TCP port it listens on, once it is ready.
    """

    def __init__(self, label: str, command: Sequence[str]) -> None:
        super().__init__(label, command, piped=False)
        self.host = ""
        self.port = 0

    def environment(self) -> dict[str, str]:
        """The variables that it gets: settings of our service are not among them."""
        return {name: value for name, value in super().environment().items() if not name.startswith(SETTINGS_PREFIX)}

    @property
    def ended(self) -> child.Ended | None:
        """How it ended by itself; None while it runs."""
        code = self._process.poll()
        return None if code is None else child.Ended(code, child.last_line(self._written()))

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it answers.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        end = time.monotonic() + timeout_s
        while not self._is_ready():
            if self.ended is not None:
                raise ServerError(f"The {self._label} server did not become ready: it {self.ended}.")
            if time.monotonic() >= end:
                said = child.last_line(self._written())[:LAST_WORDS_CHARS].rstrip(".") or "nothing"
                raise ServerError(
                    f"The {self._label} server was not ready after {timeout_s:g} s; it last said: {said}."
                )
            time.sleep(POLL_S)

    def settle(self, timeout_s: float) -> bool:
        """Wait until a running server uses no processor time worth speaking of.

        Args:
            timeout_s: seconds after which it is given up.

        Returns:
            Whether it came to rest.
        """
        import psutil

        end = time.monotonic() + timeout_s
        process = psutil.Process(self.pid)
        before = _busy_s(process)
        while True:
            time.sleep(QUIET_S)
            after = _busy_s(process)
            if after - before <= QUIET_SHARE * QUIET_S:
                return True
            if time.monotonic() >= end:
                return False
            before = after

    def _is_ready(self) -> bool:
        if not self.port:
            found = LISTENING.search(self._written().decode(errors="replace"))
            if found is None:
                return False
            self.host, self.port = found[1], int(found[2])
        connection = HTTPConnection(self.host, self.port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block: a process that is just being made must not be lost.

    Only for the main thread.
    """
    came: list[int] = []
    handlers = {interrupt: signal.signal(interrupt, lambda number, _: came.append(number)) for interrupt in INTERRUPTS}
    try:
        yield
    finally:
        for interrupt, handler in handlers.items():
            signal.signal(interrupt, handler)
        for number in came:
            signal.raise_signal(number)


def _busy_s(process: Any) -> float:
    """Processor seconds that a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
