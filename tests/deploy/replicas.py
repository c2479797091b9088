"""Real replicas on a real Ray, started as people start them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

from tests.service.process import ServiceProcess

# What every replica calls before it loads anything.
PLANTED = """
import functools, os
os.environ["RAY_DEDUP_LOGS"] = "0"
import ray
environment = {{"worker_process_setup_hook": "{}", "env_vars": {{"PYTHONPATH": os.getcwd()}}}}
ray.init = functools.partial(ray.init, runtime_env=environment)
"""
METRICS = re.compile(r"Metrics of this replica are at http://127\.0\.0\.1:(\d+)/metrics")
TITLE = "ray::ServeReplica:chatbot"
END_TIMEOUT_S = 60.0
HEAL_TIMEOUT_S = 60.0


class Replicas(ServiceProcess):
    """`python -m deploy`, ended with all its processes when the `with` block ends."""

    def __init__(self, *arguments: str | Path, plant: Callable[[], None] | None = None) -> None:
        """
        Args:
            arguments: flags.
            plant: called in each replica before it loads anything, such as `tests.service.echo.plant`.
        """
        hook = f"{plant.__module__}.{plant.__qualname__}" if plant else ""
        super().__init__(*arguments, module="deploy", planted=PLANTED.format(hook) if plant else "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = psutil.Process(self.pid).children(recursive=True) if psutil.pid_exists(self.pid) else []
        try:
            self.signal(signal.SIGTERM)
            self.wait(END_TIMEOUT_S)
        finally:
            for process in family:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            super().__exit__(kind, error, trace)

    def pids(self) -> list[int]:
        """Of the replicas that run."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                if " ".join(process.cmdline()).startswith(TITLE):
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    def wait_metrics(self, count: int) -> set[int]:
        """Wait until so many replicas have said where their metrics are; returns the ports."""
        end = time.monotonic() + HEAL_TIMEOUT_S
        while len(ports := {int(port) for port in METRICS.findall(self.log)}) < count:
            assert time.monotonic() < end, self.log
            time.sleep(0.1)
        return ports

    def kill_one(self) -> int:
        """Kill a replica with signal 9; returns its process id."""
        pid = self.pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_replicas(self, count: int, *, without: int = 0) -> None:
        """Wait until so many run, none of them the one of that process id."""
        end = time.monotonic() + HEAL_TIMEOUT_S
        while len(pids := self.pids()) != count or without in pids:
            assert time.monotonic() < end, f"{pids}\n{self.log}"
            time.sleep(0.2)
