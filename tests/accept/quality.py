"""What quantisation costs on the demo model's held-out dialogues."""

from __future__ import annotations

from benchmarks.quality import fidelity, heldout_samples
from models.folder import DEMO_CHECKPOINT
from tests.accept import folders
from tests.accept.outcome import Line

# Highest perplexity ratio and lowest share of equal first choices.
LIMITS = {"int8": (1.005, 0.99), "int4": (1.04, 0.95)}


def check() -> list[Line]:
    samples = heldout_samples()
    lines = []
    for precision, (ratio, agreement) in LIMITS.items():
        found = fidelity(DEMO_CHECKPOINT, folders.demo(precision), samples)
        figure = (
            f"{found.ratio:.4f} ({found.perplexity:.2f} to {found.reference_perplexity:.2f}, {found.tokens} tokens)"
        )
        lines += [
            Line(f"{precision} perplexity at most {ratio} of fp32", figure, found.ratio <= ratio),
            Line(
                f"{precision} top-1 agreement at least {agreement:.1%}",
                f"{found.top1_agreement:.2%}, KL divergence mean {found.mean_divergence:.5f} nats, "
                f"99th percentile {found.worst_divergence:.4f}",
                found.top1_agreement >= agreement,
            ),
        ]
    return lines
