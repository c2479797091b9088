"""Random tiny models, sources and settings: replies of our engine beside those of torch `generate`."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.synthetic import Shape, write_checkpoint
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.export_child import exported
from tests.service.engine.comparison import Comparison, Difference, until_end
from tests.service.engine.trace import padded, parting_gap, trace_engine, trace_transformers

END, FIRST_WORD = 2, 4
# Share of the places in greedy replies at which the end token is made the likeliest.
END_SHARE = 0.06
LARGEST_BATCH = 4
CHOICES: Mapping[str, Sequence[Any]] = {
    "num_beams": (1, 2, 4, 10),
    "no_repeat_ngram_size": (0, 2, 3),
    "encoder_no_repeat_ngram_size": (0, 2, 3),
    "length_penalty": (0.65, 1.0, 2.0),
    "early_stopping": (False, True, "never"),
    "min_length": (0, 4, 9),
    "max_length": (12, 20, 32),
    "repetition_penalty": (1.0, 1.3),
}
ONLY_BEAMS = ("length_penalty", "early_stopping")


@dataclass
class Outcome(Comparison):
    """Result of a run of cases.

    Attributes:
        cases: calls of `generate`.
        ended_early: replies that ended with the end token before `max_length`.
        batches: calls with several sources.
        ragged: batches whose replies differ in length.
        seen: values that each setting had.
    """

    cases: int = 0
    ended_early: int = 0
    batches: int = 0
    ragged: int = 0
    seen: dict[str, set[Any]] = field(default_factory=lambda: defaultdict(set))

    @property
    def share_ended_early(self) -> float:
        return self.ended_early / self.replies

    def __str__(self) -> str:
        return f"{self.cases} cases, {super().__str__()}, {self.share_ended_early:.0%} ended before max_length"


@dataclass
class Pair:
    """A torch model and the engine on its export.

    Attributes:
        checkpoint: folder of the torch model.
        export: folder of the engine, fp32.
        said: earlier replies; as sources, they hold what the bans of source n-grams forbid.
    """

    checkpoint: Path
    export: Path
    reference: Any
    engine: ORTBlenderbotForConditionalGeneration
    said: list[tuple[int, ...]] = field(default_factory=list)


def run_cases(count: int, seed: int, pairs: Sequence[Pair] = ()) -> Outcome:
    """Compare `count` calls of `generate`, of one to `LARGEST_BATCH` sources each.

    Args:
        count: calls.
        seed: the same seed gives the same models and cases.
        pairs: models to take in turn; without any, three are made for the run.
    """
    draw, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory() as scratch:
        pairs = pairs or make_pairs(Path(scratch), seed)
        for number in range(count):
            pair = pairs[number % len(pairs)]
            _compare(pair, draw_sources(draw, pair), _settings(draw), outcome)
    return outcome


def make_pairs(folder: Path, seed: int) -> list[Pair]:
    """What `write_pairs` writes, loaded."""
    write_pairs(folder, seed)
    return load_pairs(folder)


def write_pairs(folder: Path, seed: int) -> None:
    """Write and export three checkpoints of random shapes, the first with 40 channels a head as the 400M model has."""
    draw = random.Random(seed)
    checkpoints = _checkpoints(folder)
    for number, checkpoint in enumerate(checkpoints):
        write_checkpoint(checkpoint, seed=seed + number, shape=_shape(draw, 40 if number == 0 else None))
        _raise_end_token(checkpoint, seed + number)
    with ThreadPoolExecutor() as pool:
        list(pool.map(exported, checkpoints, map(_export_of, checkpoints), ["none"] * len(checkpoints)))


def load_pairs(folder: Path) -> list[Pair]:
    """Load what `write_pairs` wrote."""
    return [
        Pair(
            checkpoint,
            _export_of(checkpoint),
            _reference(checkpoint),
            ORTBlenderbotForConditionalGeneration.from_pretrained(_export_of(checkpoint), threads=1),
        )
        for checkpoint in _checkpoints(folder)
    ]


def draw_sources(draw: random.Random, pair: Pair, most: int = LARGEST_BATCH) -> list[tuple[int, ...]]:
    """Up to `most` sources of random lengths: random words, or an earlier reply."""
    config = pair.reference.config
    sources = []
    for _ in range(draw.randint(1, most)):
        length = draw.randrange(config.max_position_embeddings)
        words = draw.choices(range(FIRST_WORD, config.vocab_size), k=length)
        if pair.said and draw.random() < 0.5:
            words = [token for token in draw.choice(pair.said) if token >= FIRST_WORD]
        sources.append((*words, END))
    return sources


def _checkpoints(folder: Path) -> list[Path]:
    return [folder / f"checkpoint-{number}" for number in range(3)]


def _export_of(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}-fp32")


def _shape(draw: random.Random, head_dim: int | None) -> Shape:
    heads, encoder_layers = draw.choice((2, 3, 4)), draw.choice((1, 2, 3))
    return Shape(
        vocab_size=draw.randrange(280, 600),
        d_model=heads * (head_dim or draw.choice((16, 24, 32, 40))),
        encoder_layers=encoder_layers,
        decoder_layers=draw.choice([layers for layers in (1, 2, 3, 4) if layers != encoder_layers]),
        heads=heads,
        ffn=draw.choice((64, 128, 192)),
        positions=draw.choice((64, 72, 80)),
    )


def _raise_end_token(checkpoint: Path, seed: int) -> None:
    """Add to the bias of the end token, so that replies end by themselves, at different lengths."""
    from safetensors.numpy import load_file, save_file

    model, draw = _reference(checkpoint), random.Random(seed)
    sources = [[*draw.choices(range(FIRST_WORD, model.config.vocab_size), k=8), END] for _ in range(16)]
    with torch.inference_mode():
        ids = torch.tensor(sources)
        replies = model.generate(ids, num_beams=1, length_penalty=None, min_length=20, max_length=20)
        logits = model(input_ids=ids, decoder_input_ids=replies[:, :-1]).logits
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    bias = (logits.amax(-1) - logits[..., END]).quantile(END_SHARE)
    tensors["final_logits_bias"][0, END] += float(bias)
    save_file(tensors, path, metadata={"format": "pt"})


def _reference(checkpoint: Path) -> Any:
    from transformers import BlenderbotForConditionalGeneration

    return BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval()


def _settings(draw: random.Random) -> dict[str, Any]:
    settings = {name: draw.choice(values) for name, values in CHOICES.items()}
    if settings["num_beams"] == 1:
        for name in ONLY_BEAMS:
            del settings[name]
    return settings


def _compare(pair: Pair, sources: Sequence[tuple[int, ...]], arguments: dict[str, Any], outcome: Outcome) -> None:
    ids, mask = padded(sources, pair.engine.settings.pad_token_id)
    with torch.inference_mode():
        reference = pair.reference.generate(ids, attention_mask=mask, **arguments)
    expected = [until_end(row, END) for row in reference.tolist()]
    found = [until_end(row, END) for row in pair.engine.generate(ids, attention_mask=mask, **arguments).tolist()]
    pair.said += expected
    outcome.cases += 1
    for name, value in arguments.items():
        outcome.seen[name].add(value)
    outcome.replies += len(sources)
    outcome.ended_early += sum(len(reply) < arguments["max_length"] for reply in expected)
    outcome.batches += len(sources) > 1
    outcome.ragged += len({len(reply) for reply in expected}) > 1
    if found != expected:
        settings = pair.engine.settings.override(arguments)
        theirs = trace_transformers(pair.reference, sources, settings, arguments)
        ours = trace_engine(pair.engine, sources, settings)
        for source, trace, reply, mine, other in zip(sources, theirs, ours, expected, found, strict=True):
            if mine != other:
                gap = parting_gap(trace, reply.trace, (mine, other))
                outcome.differences.append(Difference(source, settings, mine, other, gap))
