"""Replies of our engine beside those of the stock `ORTModelForSeq2SeqLM` on the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.parity import stock_model
from tests.service.engine.comparison import Comparison, Difference, until_end
from tests.service.engine.trace import padded, parting_gap, trace_engine, trace_transformers


def compare_with_stock(
    folder: Path, sources: Sequence[Sequence[int]], *, kernels: str = "auto", **arguments: Any
) -> Comparison:
    """Answer each source by itself with both classes.

    Args:
        folder: an exported model.
        sources: token ids, end token included.
        kernels: of our class.
        arguments: of `generate`; what is left out is the model's own.
    """
    stock = stock_model(folder)
    engine = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=1, kernels=kernels)
    settings = engine.settings.override(arguments)
    comparison = Comparison()
    for source in sources:
        ids, mask = padded([source], settings.pad_token_id)
        expected, found = (
            until_end(model.generate(ids, attention_mask=mask, **arguments)[0].tolist(), settings.eos_token_id)
            for model in (stock, engine)
        )
        comparison.replies += 1
        if found != expected:
            (trace,) = trace_transformers(stock, [source], settings, arguments)
            (reply,) = trace_engine(engine, [source], settings)
            gap = parting_gap(trace, reply.trace, (expected, found))
            comparison.differences.append(Difference(tuple(source), settings, expected, found, gap))
    return comparison
