"""Serving the 400M shape: resident memory while it replies, and the time until it is ready."""

from __future__ import annotations

from tests.accept.measured import judged
from tests.accept.outcome import Line


def check() -> list[Line]:
    return judged("memory", {"start-400m": ["start", "--servers", "ours", "--rounds", "3"]})
