"""Other programs: run to their end, or beside this one as workers and servers; they end with this process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

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

    `peak_bytes` is the largest resident memory of its processes together, or of one of them.
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
    """This process's variables, and what a child needs to import this package and to leave the Hub alone."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}


def run(command: Iterable[str | Path], *, shown: bool = False) -> Ending:
    """Run `command` from the root of the project, with its output on the terminal (as stderr) if it is `shown`."""
    with tempfile.TemporaryFile() as output:
        target = sys.stderr if shown else output
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": target, "stderr": target}
        started = time.perf_counter()
        # A session of its own: Ctrl-C reaches this process only, which then ends its child.
        child = subprocess.Popen(
            list(map(str, command)), cwd=PROJECT, env=environment(), start_new_session=True, **streams
        )
        with _peak_memory(child.pid) as peaks:
            try:
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                child.terminate()
                _wait_or_kill(child)
                raise
        seconds = time.perf_counter() - started
        output.seek(0)
        largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Ending(child.returncode, _last_line(output.read()), seconds, max(largest, *peaks))


@contextmanager
def _peak_memory(pid: int) -> Iterator[list[int]]:
    """The resident memory of a process and its children together, in bytes, sampled until the block ends."""
    import psutil

    samples = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            with suppress(psutil.Error):
                parent = psutil.Process(pid)
                samples.append(sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


class Companion:
    """A program that runs beside this one until its `with` block ends; an exception ends it at once."""

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
        self.process = subprocess.Popen(
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
        return self.process.pid

    @property
    def cpu_s(self) -> float:
        """Processor seconds that it has used so far, on all threads; 0 once it has ended."""
        import psutil

        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def environment(self) -> dict[str, str]:
        """The variables that it gets."""
        return environment()

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
        super().__init__(label, command, piped=True)

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

    def close(self) -> None:
        """End the worker, giving it time to end by itself."""
        if self._log.closed:
            return  # it was killed
        try:
            self.process.communicate(json.dumps({"op": "close"}) + "\n", timeout=CLOSE_TIMEOUT_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()
        self._log.close()


class ServerProcess(Companion):
    """A running chat server: it says `Listening on http://HOST:PORT` and answers `GET /readyz`."""

    def __init__(self, label: str, command: Sequence[str]) -> None:
        super().__init__(label, command, piped=False)
        self.host = ""
        self.port = 0

    def environment(self) -> dict[str, str]:
        """The variables that it gets: settings of our service are not among them."""
        return {name: value for name, value in super().environment().items() if not name.startswith("CHATBOT_")}

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it answers; a `ServerError` says that it ended, or was not ready in time."""
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if self.ending() is not None:
                raise ServerError(f"The {self._label} server did not become ready: it {self.ending()}.")
            if time.monotonic() >= deadline:
                line = _last_line(self.output())[:200].rstrip(".") or "nothing"
                text = f"The {self._label} server was not ready after {timeout_s:g} s; it last said: {line}."
                raise ServerError(text)
            time.sleep(POLL_S)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until it uses no processor time worth speaking of; False when `timeout_s` was too short for that."""
        deadline = time.monotonic() + timeout_s
        before = self.cpu_s
        while True:
            time.sleep(IDLE_S)
            after = self.cpu_s
            if after - before <= IDLE_SHARE * IDLE_S:
                return True
            if time.monotonic() >= deadline:
                return False
            before = after

    def _is_ready(self) -> bool:
        if not self.port:
            match = LISTENING.search(self.output().decode(errors="replace"))
            if match is None:
                return False
            self.host, self.port = match[1], int(match[2])
        connection = HTTPConnection(self.host, self.port, timeout=CLOSE_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


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
