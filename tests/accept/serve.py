"""A fresh clone answers over HTTP within five minutes of `make serve`, with no Hub."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.accept.outcome import Line

PROMPT = '{"prompt": "Hello, how are you today?"}'
LIMIT_S = 300


def check() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        port = probe.getsockname()[1]
        probe.close()
        started = time.monotonic()
        log = (Path(folder) / "log").open("w+")
        server = subprocess.Popen(
            ["make", "serve", f"PORT={port}"], cwd=clone, stdout=log, stderr=log, start_new_session=True, env=_bare()
        )
        try:
            reply = ""
            while not reply and time.monotonic() - started < LIMIT_S and server.poll() is None:
                reply = _ask(port)
                time.sleep(0.5)
            seconds = time.monotonic() - started
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait()
        figure = f"{seconds:.0f} s, {reply!r}" if reply else f"no reply; the log ends: {_tail(log.name)}"
        return [Line("a fresh clone answers the tutorial's curl within 5 minutes of make serve", figure, bool(reply))]


def _ask(port: int) -> str:
    command = ["curl", "--silent", "--fail", "-X", "POST", "-H", "Content-Type: application/json", "-d", PROMPT]
    answer = subprocess.run([*command, f"127.0.0.1:{port}/chatbot"], capture_output=True, text=True, check=False)
    return answer.stdout if answer.returncode == 0 else ""


def _bare() -> dict[str, str]:
    """The environment without a virtual environment of ours."""
    kept = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    mine = str(Path(".venv/bin").resolve())
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != mine)
    return kept


def _tail(path: str) -> str:
    return " | ".join(Path(path).read_text().splitlines()[-3:])
