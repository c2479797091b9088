"""What quantisation costs on the demo model's held-out dialogues."""

from __future__ import annotations

from benchmarks.quality import fidelity, heldout_samples
from models.folder import DEMO_CHECKPOINT
from tests.accept import folders
from tests.accept.measured import line_of
from tests.accept.outcome import Line


def check() -> list[Line]:
    samples = heldout_samples()
    lines = []
    for precision in ("int8", "int4"):
        row = fidelity(DEMO_CHECKPOINT, folders.demo(precision), samples)
        lines += [
            line_of(f"{precision}: perplexity beside fp32", row.perplexity_ratio),
            line_of(f"{precision}: same first choice as fp32", 100 * row.top1_agreement),
        ]
    return lines
