"""Serving the 400M shape: resident memory while it replies, and the time until it is ready."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.accept import folders
from tests.accept.outcome import Line

MEGABYTES = 800
READY_S = 2.5
REPLIES = 3


def check() -> list[Line]:
    folder = folders.synthetic("int8")
    _serve(folder, replies=0)
    ready, resident = _serve(folder, replies=REPLIES)
    return [
        Line(f"ready within {READY_S:g} s with warm files", f"{ready:.1f} s", ready <= READY_S),
        Line(f"under {MEGABYTES} MB resident at beam 10", f"{resident:.0f} MB at most", resident < MEGABYTES),
    ]


def _serve(folder: Path, *, replies: int) -> tuple[float, float]:
    """Start the service and ask it; seconds until ready, and its peak resident megabytes."""
    command = [sys.executable, "-m", "service", "--model", str(folder), "--port", "0"]
    started = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            found = None
            while found is None:
                found = re.search(r"http://\S+", server.stderr.readline())
            address = found.group()
            while not _answers(f"{address}/readyz"):
                time.sleep(0.05)
            ready = time.monotonic() - started
            for _ in range(replies):
                request = urllib.request.Request(f"{address}/chatbot", b'{"prompt": "Hello, how are you today?"}')
                urllib.request.urlopen(request).read()
            status = Path(f"/proc/{server.pid}/status").read_text()
            peak = re.search(r"VmHWM:\s+(\d+) kB", status)
            assert peak is not None
            return ready, int(peak.group(1)) * 1024 / 1e6
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address) as response:
            return bool(response.status == 200)
    except OSError:
        return False
