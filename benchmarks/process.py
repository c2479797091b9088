"""The parent side: a backend in a subprocess of its own, so that its memory and its load time are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.errors import BackendError


def worker_command(backend: str, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command that starts a worker for one of `benchmarks.worker.LOADERS`.

    Args:
        backend: name of the loader.
        python: interpreter of the virtual environment that has what the loader imports.
    """
    return (str(python), "-m", "benchmarks.worker", backend)


class BackendProcess(child.Companion):
    """A running worker, used as a context manager: leaving it ends the subprocess, at once when an exception leaves.

    Args:
        label: what error messages call it.
        command: program and arguments of the worker.
    """

    def __init__(self, label: str, command: Sequence[str]) -> None:
        super().__init__(label, command, piped=True)

    @property
    def cpu_s(self) -> float:
        """Processor seconds that the worker has used so far, on all threads."""
        import psutil

        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def request(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request of `benchmarks.worker` and wait for its reply.

        Raises:
            BackendError: the worker answered with an error, with something that is no reply, or ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BackendError(f"The {self._label} process {self._ending()} while it was asked to {op}.")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise BackendError(f"The {self._label} process answered {line[:60]!r}, which is no JSON.") from error
        if "error" in reply:
            raise BackendError(f"The {self._label} process could not {op}: {reply['error'].rstrip('.')}.")
        return dict(reply)

    def close(self) -> None:
        """End the worker, giving it time to end by itself."""
        if self._log.closed:
            return  # it was killed
        try:
            self._process.communicate(json.dumps({"op": "close"}) + "\n", timeout=child.CLOSE_DEADLINE_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()
        self._log.close()

    def _ending(self) -> child.Ended:
        return child.Ended(self._process.wait(), child.last_line(self._written()))
