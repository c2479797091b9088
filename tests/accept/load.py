"""Throughput on the 400M shape, replies of fixed length: many clients beside one, and beside the rivals."""

from __future__ import annotations

from tests.accept.measured import judged
from tests.accept.outcome import Line

WIDE = "load --clients 1 4 --beams 10 --rounds 3 --seconds 25"
GREEDY = "load --servers ours --clients 1 8 --beams 1 --rounds 3 --seconds 15"


def check() -> list[Line]:
    return judged("load", {"load-400m": WIDE.split(), "load-greedy-400m": GREEDY.split()})
