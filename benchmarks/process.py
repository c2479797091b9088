"""The parent side: a backend in a subprocess of its own, so that its memory and its load time are its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.errors import BackendError

PROJECT = Path(__file__).resolve().parent.parent
CLOSE_DEADLINE_S = 10.0


def worker_command(backend: str) -> tuple[str, ...]:
    """The command that starts a worker for one of `benchmarks.backends.BACKENDS`."""
    return (sys.executable, "-m", "benchmarks.worker", backend)


class BackendProcess:
    """A running worker, used as a context manager: leaving it ends the subprocess, at once when an exception leaves.

    Args:
        label: what error messages call it.
        command: program and arguments of the worker.
    """

    def __init__(self, label: str, command: Sequence[str]) -> None:
        self._label = label
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # A session of its own: Ctrl-C reaches the parent only, which then ends its workers.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            env={**os.environ, **_environment()},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

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
        try:
            self._process.communicate(json.dumps({"op": "close"}) + "\n", timeout=CLOSE_DEADLINE_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()
        self._stderr.close()

    def kill(self) -> None:
        """End the worker now."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()

    def _ending(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        said = f"; its last words: {lines[-1].strip()[:200].rstrip('.')}" if lines else ""
        if code == -signal.SIGKILL:
            return f"was killed (signal 9: often a lack of memory){said}"
        return (f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}") + said


def _environment() -> dict[str, str]:
    """What a worker needs to import this package from any folder, and to leave the Hub alone."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
