"""`quality`: what quantisation costs on held-out dialogues, against torch fp32, teacher-forced and in whole replies."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import arguments, output
from benchmarks.checkpoints import QUANTIZATIONS, cached_export
from benchmarks.contestants import STOCK, prepare, title
from benchmarks.engines import load_ours, load_stock, load_torch
from benchmarks.environment import usable_cores
from benchmarks.output import progress
from benchmarks.results import QUALITY, Results
from benchmarks.schema import Fidelity, Quality
from benchmarks.session import Session
from models.folder import DEMO_CHECKPOINT, MANIFEST

if TYPE_CHECKING:
    from models.demo.conversations import Sample

BATCH = 16
SAMPLES = 600
REPLIES = 200
SEED = 7
DESCRIPTION = """
Exports of the demo model, and what Optimum's dynamic int8 makes of it, against torch fp32 on the held-out dialogues of
models/demo: perplexity, Kullback-Leibler divergence and agreement on the most likely token, teacher-forced in the stock
ORTModelForSeq2SeqLM; and whole replies. `--checkpoint facebook/blenderbot-400M-distill` does the same for the real one.
"""


def heldout_samples(count: int = SAMPLES, checkpoint: Path = DEMO_CHECKPOINT) -> list[Sample]:
    """Held-out replies to held-out lines, with their history; `checkpoint` is the folder of the tokenizer."""
    from transformers import AutoTokenizer

    from models.demo.config import DIALOGUES, NAMES
    from models.demo.conversations import ConversationSampler
    from models.demo.dialogues import load_subjects, without_overlap
    from models.demo.names import NameSampler, find_pieces, load_names

    names = load_names(NAMES)
    sampler = ConversationSampler(
        without_overlap(load_subjects(DIALOGUES)),
        NameSampler(names, find_pieces(names.train)),
        AutoTokenizer.from_pretrained(checkpoint),
        SEED,
        heldout_users=True,
        heldout_replies=True,
    )
    return list(islice(sampler.samples(), count))


def fidelity(checkpoint: Path, exported: Path, samples: Sequence[Sample]) -> Fidelity:
    """The next-token distributions after every token of every reply: of an export in the stock ONNX class, beside those
    of its checkpoint in torch fp32."""
    import numpy as np
    import torch

    from models.demo.batches import IGNORED, collate

    reference = load_torch(str(checkpoint), usable_cores()).model
    candidate = load_stock(str(exported), usable_cores()).model
    pad, start = reference.config.pad_token_id, reference.config.decoder_start_token_id
    losses = np.zeros(2)
    same = 0
    divergences: list[Any] = []
    for begin in range(0, len(samples), BATCH):
        batch = collate(samples[begin : begin + BATCH], pad, start)
        labels = batch.pop("labels")
        real = labels != IGNORED
        with torch.inference_mode():
            expected, actual = (
                torch.log_softmax(model(**batch).logits[real].double(), dim=-1) for model in (reference, candidate)
            )
        chosen = labels[real][:, None]
        losses -= [float(scores.gather(1, chosen).sum()) for scores in (expected, actual)]
        same += int((expected.argmax(-1) == actual.argmax(-1)).sum())
        divergences.append((expected.exp() * (expected - actual)).sum(-1).numpy())
    divergence = np.concatenate(divergences)
    tokens = len(divergence)
    return Fidelity(
        exported=exported.resolve().name,
        tokens=tokens,
        reference_perplexity=math.exp(losses[0] / tokens),
        perplexity=math.exp(losses[1] / tokens),
        mean_divergence=float(divergence.mean()),
        worst_divergence=float(np.percentile(divergence, 99)),
        top1_agreement=same / tokens,
    )


def replies(exported: Path | None, checkpoint: Path, samples: Sequence[Sample]) -> list[str]:
    """What an exported folder says to each history, at the settings that came with it; what torch fp32 says for None.

    A folder of ours runs in our engine, another one in the stock class.
    """
    import torch
    from transformers import AutoTokenizer

    folder = exported or checkpoint
    load = load_torch if exported is None else load_ours if (folder / MANIFEST).is_file() else load_stock
    model = load(str(folder), usable_cores()).model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        with torch.inference_mode():
            reply = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        texts.append(tokenizer.decode(reply, skip_special_tokens=True).strip())
    return texts


def compare(checkpoint: Path, folders: Sequence[Path], samples: int, whole: int) -> list[Fidelity]:
    """Exports of a checkpoint beside it, over so many held-out replies, and so many whole ones."""
    progress(f"drawing {max(samples, whole)} replies")
    drawn = heldout_samples(max(samples, whole), checkpoint)
    progress(f"{whole} whole replies of torch")
    reference = replies(None, checkpoint, drawn[:whole])
    rows = []
    for folder in folders:
        progress(f"comparing {folder.name}, teacher-forced")
        row = fidelity(checkpoint, folder, drawn[:samples])
        progress(f"{whole} whole replies of {folder.name}")
        texts = replies(folder, checkpoint, drawn[:whole])
        same = sum(text == expected for text, expected in zip(texts, reference, strict=True))
        rows.append(row.model_copy(update={"replies": whole, "exact_match": same / whole}))
    return rows


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    help_text = "what quantisation costs on held-out dialogues"
    parser = commands.add_parser("quality", help=help_text, description=DESCRIPTION)
    arguments.add_checkpoint(parser, "models/demo/checkpoint")
    arguments.number(parser, "--samples", SAMPLES, "replies to compare")
    arguments.number(parser, "--replies", REPLIES, "whole replies to compare")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    session = Session(options.output)
    options.checkpoint = options.checkpoint or str(DEMO_CHECKPOINT)
    checkpoint = session.checkpoint(options)
    folders = [cached_export(checkpoint, precision, session.cache) for precision in QUANTIZATIONS]
    folders += [contestant.folder for contestant in prepare([STOCK], checkpoint, session)]
    session.begin(checkpoint, samples=options.samples, replies=options.replies, seed=SEED)
    rows = compare(checkpoint.folder, folders, options.samples, options.replies)
    session.finish(Quality, QUALITY, section, results=rows)


def section(results: Results) -> Iterator[str]:
    """Every export beside torch fp32."""
    rows = results.quality()
    if not rows:
        return
    yield output.heading("Quality")
    yield output.table(
        ("", "perplexity ratio", "mean KL", "99 % KL", "same first choice", "same reply"),
        [
            (
                title(f"ours-{name}") if name in QUANTIZATIONS else title(name),
                f"{row.perplexity_ratio:.4f}",
                f"{row.mean_divergence:.2e}",
                f"{row.worst_divergence:.2e}",
                f"{row.top1_agreement:.2%}",
                f"{row.exact_match:.1%} of {row.replies}",
            )
            for name, row in rows.items()
        ],
    )
    first = next(iter(rows.values()))
    settings = next(iter(results.of_kind(Quality).values())).settings
    weights = "; random weights: numeric fidelity only, nothing about quality" * settings["random_weights"]
    yield output.paragraph(
        f"{first.tokens:,} tokens of {settings['samples']} held-out replies, teacher-forced, beside torch fp32 of "
        f"perplexity {first.reference_perplexity:.1f} (checkpoint: {settings['checkpoint']}{weights}); KL in nats. "
        "Whole replies at the model's own settings."
    )
