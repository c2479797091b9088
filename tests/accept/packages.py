"""No weakness of what gets installed is known, as far as the Python Packaging Advisory Database can be asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.accept.outcome import Line

AUDIT = "pip-audit==2.10.1"
LOCKS = ("requirements/service.lock", "requirements/redis.lock", "requirements/ray.lock")
UNREACHABLE = ("ConnectionError", "ServiceError", "NameResolutionError", "Failed to fetch", "dns error", "timed out")


def check() -> list[Line]:
    uv = Path(sys.executable).with_name("uv")
    lines = []
    for lock in LOCKS:
        audit = [
            str(uv),
            "tool",
            "run",
            AUDIT,
            "--disable-pip",
            "--require-hashes",
            "--progress-spinner",
            "off",
            "-r",
            lock,
        ]
        ended = subprocess.run(audit, capture_output=True, text=True, check=False)
        told = (ended.stdout.strip() or ended.stderr.strip()).splitlines() or [f"exit code {ended.returncode}"]
        unasked = ended.returncode and any(sign in ended.stderr for sign in UNREACHABLE)
        figure = f"not asked, since its data cannot be reached: {told[-1]}" if unasked else "; ".join(told[:20])
        lines.append(
            Line(f"no weakness is known of the packages in {lock}", figure, not ended.returncode or bool(unasked))
        )
    return lines
