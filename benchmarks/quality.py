"""What quantisation costs, against torch fp32, on held-out dialogues: teacher-forced, and in whole replies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.output import RANDOM_WEIGHTS, machine_line, wrapped
from benchmarks.replies import Likeness
from benchmarks.runs import Missing

if TYPE_CHECKING:
    from benchmarks.models import Checkpoint
    from models.demo.conversations import Sample

FORMAT = 2
BATCH = 16
SAMPLES = 600
SEED = 7


@dataclass(frozen=True)
class Fidelity:
    """An exported model beside its checkpoint, over the tokens of held-out replies.

    Attributes:
        tokens: tokens compared, end tokens included.
        reference_perplexity: of torch fp32.
        perplexity: of the exported model.
        mean_divergence: mean Kullback-Leibler divergence from torch's distribution, in nats.
        worst_divergence: its 99th percentile.
        top1_agreement: share of tokens where both rank the same token first.
    """

    tokens: int
    reference_perplexity: float
    perplexity: float
    mean_divergence: float
    worst_divergence: float
    top1_agreement: float

    @property
    def ratio(self) -> float:
        return self.perplexity / self.reference_perplexity


@dataclass(frozen=True)
class QualityReport:
    """Everything a reader needs to judge the figures.

    Attributes:
        date: when the run began, ISO 8601.
        machine: of `benchmarks.environment.machine`.
        versions: of `benchmarks.environment.versions`.
        checkpoint: what was exported.
        samples: replies compared, teacher-forced.
        results: by name of the exported folder.
        replies: whole replies, likewise.
        missing: what could not be made, and why.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    checkpoint: Checkpoint
    samples: int
    results: dict[str, Fidelity]
    replies: dict[str, Likeness]
    missing: Sequence[Missing] = ()

    def as_json(self) -> dict[str, Any]:
        """All figures; divergences in nats."""
        return {
            "benchmark": "quality",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "checkpoint": self.checkpoint.source,
                "random_weights": self.checkpoint.random_weights,
                "samples": self.samples,
                "seed": SEED,
            },
            "missing": [asdict(missing) for missing in self.missing],
            "results": [
                {
                    "exported": name,
                    **asdict(found),
                    "perplexity_ratio": found.ratio,
                    "whole_replies": asdict(self.replies[name]),
                }
                for name, found in self.results.items()
            ],
        }

    def as_text(self) -> str:
        """One row an exported folder, in the stock class, against torch fp32."""
        first = next(iter(self.results.values()))
        head = [
            f"Fidelity to torch fp32 over {self.samples} held-out replies, {first.tokens} tokens, teacher-forced",
            machine_line(self.machine),
            f"checkpoint: {self.checkpoint.source}, perplexity {first.reference_perplexity:.3f}"
            + (f"; {RANDOM_WEIGHTS}" if self.checkpoint.random_weights else ""),
            "",
        ]
        width = max(map(len, self.results))
        lines = [
            f"{'':{width}}  {'perplexity':>10}  {'ratio':>8}  {'mean KL':>9}  {'99 % KL':>9}  {'same top-1':>10}  "
            f"{'same reply':>10}  {'chrF':>5}"
        ]
        lines += [
            f"{name:{width}}  {found.perplexity:10.3f}  {found.ratio:8.5f}  {found.mean_divergence:9.2e}  "
            f"{found.worst_divergence:9.2e}  {found.top1_agreement:10.3%}  {alike.exact_match:10.1%}  {alike.chrf:5.1f}"
            for (name, found), alike in zip(self.results.items(), self.replies.values(), strict=True)
        ]
        count = next(iter(self.replies.values())).replies
        notes = [
            "KL: divergence from torch's distribution of the next token, in nats; its mean and 99th percentile.",
            f"same reply, chrF: {count} whole replies beside torch's, at the settings that came with the model.",
            *(f"missing: {missing.name}: {missing.reason}." for missing in self.missing),
        ]
        return "\n".join([*wrapped(head), *lines, "", *wrapped(notes)])


def heldout_samples(count: int = SAMPLES, checkpoint: Path | None = None) -> list[Sample]:
    """Held-out replies to held-out lines, with their history.

    Args:
        count: number of replies.
        checkpoint: folder of the tokenizer; None means that of the demo model.
    """
    from transformers import AutoTokenizer

    from models.demo.config import CHECKPOINT, DIALOGUES, NAMES
    from models.demo.conversations import ConversationSampler
    from models.demo.dialogues import load_subjects, without_overlap
    from models.demo.names import NameSampler, find_pieces, load_names

    names = load_names(NAMES)
    sampler = ConversationSampler(
        without_overlap(load_subjects(DIALOGUES)),
        NameSampler(names, find_pieces(names.train)),
        AutoTokenizer.from_pretrained(checkpoint or CHECKPOINT),
        SEED,
        heldout_users=True,
        heldout_replies=True,
    )
    return list(islice(sampler.samples(), count))


def fidelity(checkpoint: Path, exported: Path, samples: Sequence[Sample]) -> Fidelity:
    """Compare the next-token distributions of both models after every token of every reply.

    Args:
        checkpoint: folder that torch loads, in fp32.
        exported: folder that the stock ONNX class loads.
        samples: histories and replies.
    """
    import numpy as np
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import BlenderbotForConditionalGeneration

    from models.demo.batches import IGNORED, collate

    reference = BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval()
    candidate = ORTModelForSeq2SeqLM.from_pretrained(exported)
    pad, start = reference.config.pad_token_id, reference.config.decoder_start_token_id
    losses = np.zeros(2)
    same = 0
    divergences: list[Any] = []
    for begin in range(0, len(samples), BATCH):
        batch = collate(samples[begin : begin + BATCH], pad, start)
        labels = batch.pop("labels")
        asked = labels != IGNORED
        with torch.inference_mode():
            expected, found = (
                torch.log_softmax(model(**batch).logits[asked].double(), dim=-1) for model in (reference, candidate)
            )
        wanted = labels[asked][:, None]
        losses -= [float(scores.gather(1, wanted).sum()) for scores in (expected, found)]
        same += int((expected.argmax(-1) == found.argmax(-1)).sum())
        divergences.append((expected.exp() * (expected - found)).sum(-1).numpy())
    divergence = np.concatenate(divergences)
    tokens = len(divergence)
    return Fidelity(
        tokens=tokens,
        reference_perplexity=math.exp(losses[0] / tokens),
        perplexity=math.exp(losses[1] / tokens),
        mean_divergence=float(divergence.mean()),
        worst_divergence=float(np.percentile(divergence, 99)),
        top1_agreement=same / tokens,
    )
