"""Other programs: run to their end, or beside this one as workers and servers; they end with this process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.errors import ContestantError, ServerError

PROJECT = Path(__file__).resolve().parent.parent
CLOSE_TIMEOUT_S = 10.0
LOG_BYTES = 2**20
SAMPLE_S = 0.05
LISTENING = re.compile(r"Listening on http://([\w.]+):(\d+)")
START_TIMEOUT_S = 600.0
POLL_S = 0.1
IDLE_S, IDLE_SHARE = 0.5, 0.05


@dataclass(frozen=True)
class Ending:
    """How a program ended: its exit code, or minus the number of the signal that ended it, and its last line of output.

    `peak_bytes` is the largest resident memory of its processes together, or of the first of them.
    """

    code: int
    last_line: str
    seconds: float = field(default=0.0, compare=False)
    peak_bytes: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """The ending as a part of a sentence."""
        output = f"; its last line: {self.last_line[:200].rstrip('.')}" if self.last_line else ""
        if self.code == -signal.SIGKILL:
            return f"was killed (signal 9: often a lack of memory){output}"
        return (f"was ended by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}") + output


def environment() -> dict[str, str]:
    """What a child gets: no settings of our service, the path of this package, and that the Hub is to be left alone."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATBOT_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}


def run(command: Iterable[str | Path], *, show: bool = False) -> Ending:
    """Run `command` from the root of the project, with its output on the terminal (as stderr) with `show`."""
    with tempfile.TemporaryFile() as output:
        target = sys.stderr if show else output
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": target, "stderr": target}
        started = time.perf_counter()
        # A session of its own: Ctrl-C reaches this process only, which then ends its child.
        child = subprocess.Popen(
            list(map(str, command)), cwd=PROJECT, env=environment(), start_new_session=True, **streams
        )
        peak = 0
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(SAMPLE_S)
                    break
                peak = max(peak, _memory(child.pid))
        except BaseException:
            child.terminate()
            _wait_or_kill(child)
            raise
        seconds = time.perf_counter() - started
        output.seek(0)
        return Ending(child.returncode, _last_line(output.read()), seconds, peak)


def peak_bytes(pid: int) -> int:
    """Largest resident memory of a process so far: VmHWM on Linux, elsewhere what it holds now; 0 once it has ended."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError):
        lines = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return next((int(line.split()[1]) * 1024 for line in lines), 0)
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _memory(pid: int) -> int:
    """Resident memory of a process and its children now, in bytes, or the largest of the process by itself so far."""
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        together = sum(int(process.memory_info().rss) for process in (parent, *parent.children(recursive=True)))
        return max(together, peak_bytes(pid))
    return 0


class Companion:
    """A program that runs beside this one until its `with` block ends; an exception ends it at once."""

    def __init__(self, label: str, command: Sequence[str], **pipes: int) -> None:
        """`label` is what error messages call it; output that goes to none of `pipes` is kept for them."""
        self._label = label
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": self._log} | pipes
        self.process = subprocess.Popen(command, env=environment(), encoding="utf-8", start_new_session=True, **streams)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def cpu_s(self) -> float:
        """Processor seconds that it has used so far, on all threads; 0 once it has ended."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def output(self) -> bytes:
        """The end of what it has written so far."""
        # The child writes at the offset that both share, so this must not move it.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), LOG_BYTES, max(0, size - LOG_BYTES))

    def ending(self) -> Ending | None:
        """How it ended by itself; None while it runs."""
        code = self.process.poll()
        return None if code is None else Ending(code, _last_line(self.output()))

    def close(self) -> None:
        """End the program, giving it time to end by itself."""
        self.process.terminate()
        _wait_or_kill(self.process)
        self._log.close()

    def kill(self) -> None:
        """End the program now."""
        self.process.kill()
        self.process.communicate()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.close()
        else:
            self.kill()


class WorkerProcess(Companion):
    """A running `benchmarks.worker`."""

    def __init__(self, label: str, command: Sequence[str]) -> None:
        super().__init__(label, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def request(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request of `benchmarks.worker` and wait for its reply.

        A `ContestantError` says that the worker answered with an error, with something that is no reply, or ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            raise ContestantError(f"The {self._label} process {self.ending()} while it was asked to {op}.")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise ContestantError(f"The {self._label} process answered {line[:60]!r}, which is no JSON.") from error
        if "error" in reply:
            raise ContestantError(f"The {self._label} process could not {op}: {reply['error'].rstrip('.')}.")
        return dict(reply)


class ServerProcess(Companion):
    """A running chat server: it says `Listening on http://HOST:PORT` and answers `GET /readyz`."""

    def __init__(self, label: str, command: Sequence[str]) -> None:
        super().__init__(label, command)
        self.host, self.port = "", 0

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it answers; a `ServerError` says that it ended, or was not ready in time."""
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if self.ending() is not None:
                raise ServerError(f"The {self._label} server did not become ready: it {self.ending()}.")
            if time.monotonic() >= deadline:
                line = _last_line(self.output())[:200].rstrip(".") or "nothing"
                raise ServerError(
                    f"The {self._label} server was not ready after {timeout_s:g} s; it last said: {line}."
                )
            time.sleep(POLL_S)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until it uses no processor time worth speaking of; False when `timeout_s` was too short for that."""
        deadline = time.monotonic() + timeout_s
        while True:
            before = self.cpu_s
            time.sleep(IDLE_S)
            if self.cpu_s - before <= IDLE_SHARE * IDLE_S:
                return True
            if time.monotonic() >= deadline:
                return False

    def _is_ready(self) -> bool:
        if not self.port:
            match = LISTENING.search(self.output().decode(errors="replace"))
            if match is None:
                return False
            self.host, self.port = match[1], int(match[2])
        with closing(HTTPConnection(self.host, self.port, timeout=CLOSE_TIMEOUT_S)) as connection:
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, HTTPException):
                return False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block, for a process that is just being made; main thread only."""
    pending: list[int] = []
    signals = (int(signal.SIGINT), int(signal.SIGTERM))
    handlers = {number: signal.signal(number, lambda caught, _: pending.append(caught)) for number in signals}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in pending:
            signal.raise_signal(number)


def _wait_or_kill(process: subprocess.Popen[Any]) -> None:
    try:
        process.communicate(timeout=CLOSE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
