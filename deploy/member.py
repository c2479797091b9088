"""One machine of a Ray cluster: Ray runs below us, and is started again when it ends, so that a machine which was taken
for dead comes back by itself."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy import state, token
from deploy.address import PORT, name_or_address, own_address, unreachable
from service import echo, logs
from service.engine import machine
from service.errors import ConfigurationError
from service.options import setting
from service.values import store

logger = logging.getLogger("service")

CLUSTER = "cluster"
ROOT = Path(__file__).parents[1]
# Replicas share no objects; this is the least that Ray takes.
OBJECT_STORE_BYTES = 80 * 2**20
STARTED = "Ray runtime started."
REFUSED = ("InvalidAuthToken", "Unauthenticated", "AuthenticationError")
MISMATCH = "Version mismatch"
EXITED = re.compile(r"(\w+ \[exit code=[^\]]+\])")
FAILED = re.compile(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception): .+)$", re.MULTILINE)
RAY = (sys.executable, "-u", "-m", "ray.scripts.scripts")
RETRY_S = 2.0
KILL_S = 15.0
# The time for running replies (--drain-timeout), and what Ray takes to begin.
DRAIN_S = 35
POLL_S = 0.2
REPLICA = "ray::ServeReplica:"
# A name of a socket that is no file, and so free again however its owner ends.
NAME = "\0chatbot-node"

LIMITS: Mapping[str, str] = {
    # The head asks each machine every second; one that is silent three times, 3 s each, is dead after 9 to 13 s.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    # For an hour the others go on without a head; for two minutes, one second a try, the head goes on without Redis.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
    "RAY_num_redis_request_retries": "120",
    # A replica that does not answer Ray has nothing to finish.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}


@dataclass(frozen=True)
class MemberConfig:
    """One machine of a cluster."""

    head: str = setting(
        "",
        CLUSTER,
        "--head",
        "address of the head, for the other machines",
        takes=name_or_address,
        metavar="HOST",
        default_text="this machine is the head",
    )
    address: str = setting(
        "",
        CLUSTER,
        "--address",
        "of this machine, as the others reach it",
        takes=name_or_address,
        metavar="HOST",
        default_text="the one on the way to the head, or to Redis",
    )
    store: str = setting(
        "",
        CLUSTER,
        "--store",
        "the Redis that keeps the conversations, and what the head knows of the cluster",
        takes=store,
        metavar="URL",
        default_text="none; a head needs it",
    )


class Member:
    """Ray on this machine."""

    def __init__(self, config: MemberConfig) -> None:
        """
        Raises:
            ConfigurationError: the machine cannot be part of a cluster as it is.
        """
        self._config = config
        self._alone = alone()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._environment = {**LIMITS, **os.environ, "PYTHONPATH": str(ROOT)}
        if not config.head:
            self._environment |= state.environment(config.store)
            for concern in state.check(config.store):
                logger.warning(concern)
        self.address = config.address or own_address(config.head or state.host(config.store))
        self.head = config.head or self.address
        token.keep(os.environ, make=not config.head)

    def stop(self) -> None:
        """Leave the cluster, at the second time at once."""
        if self._stopping.is_set():
            self._kill()
        self._stopping.set()
        if self._process is not None:
            threading.Thread(target=self._leave, args=(self._process,)).start()

    def run(self) -> int:
        """Run Ray until a signal comes; returns the exit code."""
        waiting = ""
        while not self._stopping.is_set():
            if self._config.head and (complaint := unreachable(self.head)):
                if complaint != waiting:
                    logger.warning("%s It is tried again.", complaint)
                waiting = complaint
                self._stopping.wait(RETRY_S)
                continue
            waiting = ""
            output = self._run_once()
            if self._stopping.is_set():
                break
            if complaint := permanent_fault(output, self.head):
                logs.complain(complaint)
                return 1
            logger.error("Ray has ended here (%s); it is started again.", reason(output))
            self._stopping.wait(RETRY_S)
        logger.info("This machine has left the cluster.")
        return 0

    def _run_once(self) -> Sequence[str]:
        """Start Ray and wait for its end; returns what it said."""
        output: list[str] = []
        # A session of its own: Ctrl-C is for us, who let running replies finish first.
        with subprocess.Popen(
            self._command(),
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as self._process:
            assert self._process.stdout is not None
            if self._stopping.is_set():
                self._process.terminate()
            for line in self._process.stdout:
                output.append(line.rstrip())
                if STARTED in line:
                    self._announce()
        return output

    def _command(self) -> Sequence[str]:
        role = ["--address", f"{self.head}:{PORT}"]
        if not self._config.head:
            role = ["--head", "--port", str(PORT), *state.arguments(self._config.store)]
        node = ["--node-ip-address", self.address, "--num-cpus", str(machine.available_cores())]
        store = ["--object-store-memory", str(OBJECT_STORE_BYTES)]
        return [*RAY, "start", *role, *node, *store, "--block", "--log-color", "false"]

    def _announce(self) -> None:
        if self._config.head:
            logger.info("This machine, %s, is part of the cluster of %s.", self.address, self.head)
            return
        store = echo.public(self._config.store)
        logger.info("This machine, %s, is the head; the state of the cluster is kept in %s.", self.address, store)
        logger.info(
            "Next, on each other machine, in its checkout: mkdir -p ~/.ray && scp %s:.ray/auth_token ~/.ray/ && "
            "make ray-node HEAD=%s",
            self.address,
            self.address,
        )
        logger.info("Then, on this one: make ray-deploy STORE=%s", store)

    def _leave(self, process: subprocess.Popen[str]) -> None:
        """Have the replicas of this machine finish their replies, and then end Ray."""
        logger.info("Leaving the cluster: running replies finish first.")
        end = time.monotonic() + DRAIN_S + KILL_S
        if self._drain():
            while process.poll() is None and replicas_below(process.pid) and time.monotonic() < end:
                time.sleep(POLL_S)
        process.terminate()
        try:
            process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            self._kill()

    def _drain(self) -> bool:
        """Have Ray take the replicas of this machine away; returns whether it will."""
        cause = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "It is stopped."]
        deadline = ["--deadline-remaining-seconds", str(DRAIN_S)]
        command = [*RAY, "drain-node", "--address", f"{self.head}:{PORT}", *cause, *deadline]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=KILL_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return ended.returncode == 0

    def _kill(self) -> None:
        if self._process is None:
            return
        try:
            family = [*psutil.Process(self._process.pid).children(recursive=True), self._process]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def replicas_below(pid: int) -> bool:
    """Whether any descendant of a process is a replica."""
    try:
        below = psutil.Process(pid).children(recursive=True)
        return any("".join(process.cmdline()).startswith(REPLICA) for process in below)
    except psutil.NoSuchProcess:
        # One has ended meanwhile; the next look tells.
        return True


def alone() -> socket.socket:
    """What only one of us can hold on a machine.

    Raises:
        ConfigurationError: another one holds it, or this is no Linux.
    """
    if sys.platform != "linux":
        raise ConfigurationError("A cluster is made of machines with Linux; make serve-ray serves on this one alone.")
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(NAME)
    except OSError as error:
        held.close()
        raise ConfigurationError("This machine is part of a cluster already; end that one first.") from error
    return held


def permanent_fault(output: Sequence[str], head: str) -> str:
    """Why it makes no sense to start Ray again after what it said, in a sentence; empty when it does."""
    text = "\n".join(output)
    if any(word in text for word in REFUSED):
        return f"The head at {head} does not take this machine's token; copy ~/.ray/auth_token from there."
    if MISMATCH in text:
        return (
            f"Ray or Python is of another version here than on the head at {head}; have the same checkout and Python."
        )
    return ""


def reason(output: Sequence[str]) -> str:
    """What tells most of why Ray has ended."""
    text = "\n".join(output)
    for pattern in (EXITED, FAILED):
        if matches := pattern.findall(text):
            return str(matches[-1]).strip()
    return next((line.strip() for line in reversed(output) if line.strip()), "it said nothing")
