"""Every bad input has a test, and the tests pass."""

from __future__ import annotations

import subprocess
import sys

from tests.accept.outcome import Line

TESTS = (
    "tests/service/http/test_bad_input.py",
    "tests/service/http/test_attacks.py",
    "tests/service/serving/test_server.py",
    "tests/export",
)


def check() -> list[Line]:
    lines = []
    for path in TESTS:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", path], capture_output=True, text=True, check=False
        )
        summary = ended.stdout.strip().splitlines()[-1]
        lines.append(Line(f"{path} passes", summary, ended.returncode == 0))
    return lines
