"""Running another program, to its end or beside this one; it ends with this process when that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).resolve().parent.parent
DEADLINE_S = 15.0
CLOSE_DEADLINE_S = 10.0
LOG_BYTES = 2**20


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit code, or minus the number of the signal that ended it.
        last_words: last line of what it printed; "" when that went to the terminal.
        seconds: from its start to its end.
        peak_bytes: largest resident memory of it, or of a program that it ran.
    """

    code: int
    last_words: str
    seconds: float = field(default=0.0, compare=False)
    peak_bytes: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """The ending as a part of a sentence."""
        said = f"; its last words: {self.last_words[:200].rstrip('.')}" if self.last_words else ""
        if self.code == -signal.SIGKILL:
            return f"was killed (signal 9: often a lack of memory){said}"
        return (f"was ended by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}") + said


def run(command: Iterable[str | Path], *, shown: bool = False) -> Ended:
    """Run `command` from the root of the project, with what `environment` adds.

    Args:
        command: program and arguments.
        shown: whether its output goes to the terminal (as stderr) or only its last line is kept.
    """
    with tempfile.TemporaryFile() as output:
        target = sys.stderr if shown else output
        started = time.perf_counter()
        # A session of its own: Ctrl-C reaches this process only, which then ends its child.
        child = subprocess.Popen(
            list(map(str, command)),
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            start_new_session=True,
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise
        output.seek(0)
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Ended(child.returncode, last_line(output.read()), time.perf_counter() - started, peak_bytes)


class Companion:
    """A program that runs beside this one, used as a context manager: leaving it ends the program.

    An exception that leaves ends it at once.
    """

    def __init__(self, label: str, command: Sequence[str], *, piped: bool) -> None:
        """
        Args:
            label: what error messages call it.
            command: program and arguments.
            piped: whether this process writes to its stdin and reads its stdout; only what goes to stderr is kept for
                messages then, and both outputs otherwise.
        """
        self._label = label
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # A session of its own: Ctrl-C reaches the parent only, which then ends its children.
        self._process = subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else self._log,
            stderr=self._log,
            encoding="utf-8",
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The variables that it gets."""
        return environment()

    def close(self) -> None:
        """End the program, giving it time to end by itself."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._log.close()

    def kill(self) -> None:
        """End the program now."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()

    def _written(self) -> bytes:
        # The child writes at the offset that both share, so this must not move it.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), LOG_BYTES, max(0, size - LOG_BYTES))


def last_line(output: bytes) -> str:
    """The last line that says something; "" for none."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def environment() -> dict[str, str]:
    """This process's environment, and what a child needs to import this package and to leave the Hub alone."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
