"""One reply at a time on the 400M shape: the stock way to load the export, and the fused engine, against torch."""

from __future__ import annotations

from tests.accept.measured import judged
from tests.accept.outcome import Line

CONTESTANTS = "torch-fp32,stock-int8,ours-int8,ours-int8,ours-int4"


def check() -> list[Line]:
    parts = {"latency-400m": ["latency", "--contestants", CONTESTANTS, "--rounds", "5"]}
    return judged("latency", parts, ("int8", "int4"))
