"""The engine's replies: those of torch, those of the stock class, and the same in any company."""

from __future__ import annotations

import tempfile
from pathlib import Path

from models.folder import DEMO_CHECKPOINT
from service.engine.kernels import library
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts
from tests.service.engine.comparison import Comparison
from tests.service.engine.neighbours import compare_alone_and_among
from tests.service.engine.parity_cases import Pair, make_pairs, run_cases
from tests.service.engine.stock import compare_with_stock

CASES = 500
PROMPTS = 200
AMONG = 400
MOST_TIES = 0.01
EARLY = 0.30
SEED = 3


def check() -> list[Line]:
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    with tempfile.TemporaryDirectory() as scratch:
        reference = BlenderbotForConditionalGeneration.from_pretrained(DEMO_CHECKPOINT).float().eval()
        demo = folders.demo("none")
        engine = ORTBlenderbotForConditionalGeneration.from_pretrained(demo)
        pairs = [*make_pairs(Path(scratch), SEED), Pair(DEMO_CHECKPOINT, demo, reference, engine)]
        outcome = run_cases(CASES, SEED, pairs)
    _tell(outcome)
    lines = [
        Line(
            f"fp32 engine equals torch generate on {CASES} cases, at most {MOST_TIES:.0%} ties",
            str(outcome),
            outcome.agrees and outcome.ties <= MOST_TIES * outcome.replies,
        ),
        Line(
            f"at least {EARLY:.0%} of the replies end by the end token",
            f"{outcome.share_ended_early:.0%}; {outcome.ragged} of {outcome.batches} batches of unequal length",
            outcome.share_ended_early >= EARLY,
        ),
    ]
    folder = folders.demo("int8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sources = [tokenizer(prompt).input_ids for prompt in prompts(PROMPTS)]
    for kernels in (library.AUTO, library.STOCK):
        for beams, name in ((10, "beam 10"), (1, "greedy")):
            found = compare_with_stock(folder, sources, kernels=kernels, num_beams=beams)
            title = library.choose(kernels).title
            lines.append(_share(f"int8 engine equals the stock class, {name}, kernels {title}", found, 0.97))
    for precision in ("int8", "int4", "none"):
        engine = ORTBlenderbotForConditionalGeneration.from_pretrained(folders.demo(precision))
        asked = [tokenizer(prompt).input_ids for prompt in prompts(AMONG)]
        among = compare_alone_and_among(engine, asked, SEED)
        lines.append(_share(f"replies of {precision} are the same alone and in any batch", among, 1.0))
    return lines


def _share(promise: str, found: Comparison, least: float) -> Line:
    _tell(found)
    share = found.equal / found.replies
    return Line(f"{promise}: at least {least:.0%} of {found.replies}", f"{share:.1%} ({found})", share >= least)


def _tell(found: Comparison) -> None:
    """Show each reply that differs, with the margin by which the reference preferred its own."""
    for difference in found.differences:
        print(f"    differs by {difference.gap:.1e} nats at beam {difference.settings.num_beams}")
