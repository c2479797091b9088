"""Runs `python -m export` in a process of its own, as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN_MAIN = "import sys; from export.__main__ import main; sys.exit(main())"


def command(*arguments: str | Path, planted: str = "") -> list[str]:
    """The command line of an export child.

    Args:
        arguments: what follows `python -m export`.
        planted: statements to run in the child before its `main`, such as a function replaced by one that fails.
    """
    program = ["-c", f"{planted}\n{RUN_MAIN}"] if planted else ["-m", "export"]
    return [sys.executable, *program, *map(str, arguments)]


def run_export(
    *arguments: str | Path,
    planted: str = "",
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 600.0,
) -> subprocess.CompletedProcess[str]:
    """Run an export to its end; `environment` is added to that of the test run."""
    return subprocess.run(
        command(*arguments, planted=planted),
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def exported(checkpoint: Path, folder: Path, quantization: str, *arguments: str) -> Path:
    """Export `checkpoint` into `folder` without a word on stderr, and return the folder."""
    finished = run_export(
        "--model", checkpoint, "--quantization", quantization, "--output-dir", folder, *(arguments or ["--no-verify"])
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return folder


def refusal(finished: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one sentence on stderr of an export that was refused, without its `error: `."""
    lines = finished.stderr.splitlines()
    assert finished.returncode == code, finished.stderr
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in finished.stdout
    return lines[0].removeprefix("error: ")
