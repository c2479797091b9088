"""The service as a process of its own, spoken to from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"Listening on (http://[^\s\"]+)")
START_TIMEOUT_S = 90.0
# To be planted where a limit is tried: it counts by minutes of the clock, and lets one more through when one turns.
ONE_MINUTE = """
from limits.storage import MemoryStorage
MemoryStorage.sliding_window_keys = lambda storage, key, expiry, at: (f"{key} before", f"{key} now")
"""
SETTINGS = {"CHATBOT_REPLY_CACHE": "0", "CHATBOT_THREADS": "1"}
RUN_MAIN = "import runpy; runpy.run_module('{}', run_name='__main__', alter_sys=True)"


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: dict[str, str]
    body: str


class ServiceProcess:
    """`python -m service` on a free port, with a data folder of its own; ended when the `with` block ends.

    Every reply is computed, so that equal requests are as much work as others, unless `--reply-cache` is a flag; and on
    one thread, since those of a tiny model wait for each other, unless `--threads` is one.

    Args:
        arguments: flags.
        root: working directory.
        planted: statements to run in the process before it starts, such as a method replaced by one that fails.
        module: what is run, if it is not the service itself.
        preexec: called in the new process before it runs, such as to enter a control group.

    Attributes:
        url: address it listens on, without a slash at the end.
        data: its data folder.
    """

    def __init__(
        self,
        *arguments: str | Path,
        root: Path = ROOT,
        planted: str = "",
        module: str = "service",
        preexec: Callable[[], None] | None = None,
    ) -> None:
        self._data = TemporaryDirectory()
        self.data = self._data.name
        program = ["-c", f"{planted}\n{RUN_MAIN.format(module)}"] if planted else ["-m", module]
        self._process = subprocess.Popen(
            [sys.executable, *program, "--port", "0", *map(str, arguments)],
            cwd=root,
            env=os.environ | SETTINGS | {"HF_HUB_OFFLINE": "1", "XDG_DATA_HOME": self._data.name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec,
        )
        self._lines: list[str] = []
        self._listening = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(START_TIMEOUT_S), self.log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._data.cleanup()

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return "".join(self._lines)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; returns the exit code."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {timeout_s:g} seconds\n{self.log}") from None
        self._reader.join(timeout_s)
        return code

    def wait_ready(self) -> Self:
        end = time.monotonic() + START_TIMEOUT_S
        while self.get("/readyz").status != 200:
            assert time.monotonic() < end, self.log
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels, as `/metrics` has it now."""
        families = text_string_to_metric_families(self.get("/metrics").body)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def wait_idle(self, timeout_s: float = 10.0) -> float:
        """Wait until nothing waits or runs; returns the seconds that it took."""
        started = time.monotonic()
        while self.metric("chatbot_batch_rows") or self.metric("chatbot_queue_size"):
            assert time.monotonic() - started < timeout_s, "work goes on"
            time.sleep(0.02)
        return time.monotonic() - started

    def wait_answered(self, timeout_s: float = 10.0) -> None:
        """Wait until no other request is being answered; threads count theirs after the engine is idle."""
        end = time.monotonic() + timeout_s
        while self.metric("chatbot_requests_in_progress") > 1:
            assert time.monotonic() < end, "requests are still being answered"
            time.sleep(0.02)

    def get(self, path: str, timeout_s: float = 10.0) -> Answer:
        """GET by urllib."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout_s) as response:
                return Answer(response.status, dict(response.headers), response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def curl(self, *arguments: str | bytes, path: str = "/chatbot", timeout_s: float = 60.0) -> Answer:
        """Run curl against a path of the service; the reply is parsed from what `curl -i` prints."""
        finished = subprocess.run(
            ["curl", "-sS", "-i", "--max-time", str(timeout_s), *arguments, self.url + path],
            capture_output=True,
            timeout=timeout_s + 10,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr.decode()
        head, _, body = finished.stdout.partition(b"\r\n\r\n")
        while head.split(b" ", 2)[1] == b"100":
            head, _, body = body.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        return Answer(int(status.split(" ", 2)[1]), headers, body.decode())

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            found = LISTENING.search(line)
            if found:
                self.url = found.group(1)
                self._listening.set()
        self._listening.set()
