"""`quality`: what quantisation costs on held-out dialogues, against torch fp32, teacher-forced and in whole replies."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import session
from benchmarks.checkpoints import QUANTIZATIONS, Checkpoint, cached_export, named_checkpoint, named_export
from benchmarks.contestants import prepare, title
from benchmarks.errors import InputError
from benchmarks.results import Results
from benchmarks.schema import Fidelity, Missing, Quality
from benchmarks.session import Session, progress
from benchmarks.tables import Block, Heading, Prose, Table

if TYPE_CHECKING:
    from models.demo.conversations import Sample

BATCH = 16
SAMPLES = 600
REPLIES = 200
SEED = 7
STOCK = "stock-dynamic-int8"
DESCRIPTION = """
Exports of the demo model, and what Optimum's dynamic int8 makes of it, against torch fp32 on the held-out dialogues of
models/demo: perplexity, Kullback-Leibler divergence and agreement on the most likely token, teacher-forced in the stock
ORTModelForSeq2SeqLM; and whole replies. `--checkpoint facebook/blenderbot-400M-distill` does the same for the real one.
"""


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

    folder, model = exported or checkpoint, _loaded(exported, checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        with torch.inference_mode():
            reply = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        texts.append(tokenizer.decode(reply, skip_special_tokens=True).strip())
    return texts


def _loaded(exported: Path | None, checkpoint: Path) -> Any:
    if exported is None:
        from transformers import BlenderbotForConditionalGeneration

        return BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval()
    if (exported / "manifest.json").is_file():
        from service.ort_model import ORTBlenderbotForConditionalGeneration

        return ORTBlenderbotForConditionalGeneration.from_pretrained(exported)
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    return ORTModelForSeq2SeqLM.from_pretrained(exported)


def compare(reference: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Fields of `Fidelity`: replies compared one by one."""
    from sacrebleu import corpus_chrf

    same = sum(a == b for a, b in zip(reference, texts, strict=True))
    chrf = corpus_chrf(list(texts), [list(reference)]).score
    return {"replies": len(texts), "exact_match": same / len(texts), "chrf": chrf}


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    help_text = "what quantisation costs on held-out dialogues"
    parser = commands.add_parser("quality", help=help_text, description=DESCRIPTION)
    help_text = "a checkpoint: a folder or a Hub id (default: models/demo/checkpoint)"
    parser.add_argument("--checkpoint", metavar="DIR_OR_ID", help=help_text)
    precisions = ", ".join(QUANTIZATIONS)
    help_text = f"folders that `python -m export` made of it (default: {precisions} and {STOCK}, made in the cache)"
    parser.add_argument("--exported", type=Path, nargs="+", default=[], metavar="DIR", help=help_text)
    session.number(parser, "--samples", SAMPLES, "replies to compare")
    session.number(parser, "--replies", REPLIES, "whole replies to compare")
    session.add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from models.demo.config import CHECKPOINT

    current = Session(options)
    folders = [folder.expanduser() for folder in options.exported]
    missing: list[Missing] = []
    for folder in folders:
        named_export(folder)
    checkpoint = named_checkpoint(options.checkpoint or str(CHECKPOINT))
    if not folders:
        folders = [cached_export(checkpoint, precision, current.cache, progress) for precision in QUANTIZATIONS]
        ready, missing = prepare([STOCK], checkpoint, {}, current.cache, progress)
        folders += [contestant.folder for contestant in ready]
    for folder in folders:
        _check_vocabulary(checkpoint, folder)
    progress(f"drawing {options.samples} replies")
    samples = heldout_samples(max(options.samples, options.replies), checkpoint.folder)
    answered = samples[: options.replies]
    head = current.begin(checkpoint.fingerprint, folders, options.samples, options.replies)
    journal = current.journal
    progress(f"{len(answered)} whole replies of torch")
    reference = journal.get_or("torch", partial(replies, None, checkpoint.folder, answered))
    rows = []
    for folder in folders:
        name = folder.resolve().name
        progress(f"comparing {name}, teacher-forced")
        row = journal.get_or(name, partial(_fidelity_fields, checkpoint, folder, samples[: options.samples]))
        progress(f"{len(answered)} whole replies of {name}")
        texts = journal.get_or(f"replies of {name}", partial(replies, folder, checkpoint.folder, answered))
        rows.append(Fidelity(**row | compare(reference, texts)))
    measurement = Quality(
        **head,
        settings={
            "checkpoint": checkpoint.source,
            "random_weights": checkpoint.random_weights,
            "samples": options.samples,
            "seed": SEED,
        },
        missing=missing,
        results=rows,
    )
    current.finish(measurement, section(Results(Path(), {"quality": measurement})))


def _fidelity_fields(checkpoint: Checkpoint, folder: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    return fidelity(checkpoint.folder, folder, samples).model_dump()


def _check_vocabulary(checkpoint: Checkpoint, exported: Path) -> None:
    ours, theirs = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (checkpoint.folder, exported)
    )
    if ours != theirs:
        raise InputError(f"{exported} is not an export of {checkpoint.folder}: their vocabularies differ.")


def section(results: Results) -> Iterator[Block]:
    """Every export beside torch fp32."""
    rows = results.quality()
    if not rows:
        return
    yield Heading("Quality")
    yield Table(
        ("", "perplexity ratio", "mean KL", "99 % KL", "same first choice", "same reply", "chrF"),
        [
            (
                title(f"ours-{name}") if name in QUANTIZATIONS else title(name),
                f"{row.perplexity_ratio:.4f}",
                f"{row.mean_divergence:.2e}",
                f"{row.worst_divergence:.2e}",
                f"{row.top1_agreement:.2%}",
                f"{row.exact_match:.1%} of {row.replies}",
                f"{row.chrf:.1f}",
            )
            for name, row in rows.items()
        ],
    )
    first = next(iter(rows.values()))
    settings = next(iter(results.of_kind(Quality).values())).settings
    weights = "; random weights: numeric fidelity only, nothing about quality" * settings["random_weights"]
    yield Prose(
        f"{first.tokens:,} tokens of {settings['samples']} held-out replies, teacher-forced, beside torch fp32 of "
        f"perplexity {first.reference_perplexity:.1f} (checkpoint: {settings['checkpoint']}{weights}); KL in nats. "
        "Whole replies at the model's own settings."
    )
