"""Systems that lack what we need are told so by each program."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.service.process import ROOT

HIDDEN = (
    "import sys, signal; sys.modules['fcntl'] = sys.modules['resource'] = None; del signal.SIGALRM, signal.setitimer"
)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("service", ["--check", "--model", "demo", "--port", "0"]),
        ("service", ["--model", "demo", "--port", "0"]),
        ("export", ["--check", "--model", "models/demo/checkpoint"]),
        ("deploy", ["--check", "--model", "demo", "--port", "0"]),
        ("benchmarks", ["report"]),
    ],
)
def test_another_system_is_refused_in_a_sentence(module: str, arguments: list[str]) -> None:
    program = f"{HIDDEN}; import {module}.__main__ as program; sys.exit(program.main({arguments!r}))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: This needs Linux or macOS; on Windows, run it in WSL.\n"
