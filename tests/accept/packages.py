"""No weakness of what gets installed is known, as far as the Python Packaging Advisory Database can be asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.accept.outcome import Line

AUDIT = "pip-audit==2.10.1"
OPTIONS = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
LOCKS = ("requirements/service.lock", "requirements/redis.lock", "requirements/ray.lock")


def check() -> list[Line]:
    return [_audit(lock) for lock in LOCKS]


def _audit(lock: str) -> Line:
    """Missed as well where the database does not answer for a package: nothing is known of it then."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "tool", "run", AUDIT, *OPTIONS, "-r", lock]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    promise = f"no weakness is known of the packages in {lock}"
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        return Line(promise, f"the database was not asked: {reason}", False)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    weak = [f"{package['name']} {found['id']}" for package in packages for found in package.get("vulns", [])]
    figure = f"{len(packages)} packages; weaknesses: {', '.join(weak) or 'none'}"
    if unknown:
        figure += f"; the database did not answer for {len(unknown)} of them, such as {unknown[0]}"
    return Line(promise, figure, not weak and not unknown)
