"""Whole replies of an exported model beside those of torch fp32: the same, or how alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.demo.conversations import Sample

REPLIES = 200
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Likeness:
    """Replies of two models to the same histories, at the settings that came with the model.

    Attributes:
        replies: number of replies.
        exact_match: share of them that are the same text.
        chrf: chrF of all of them against the reference's, from 0 to 100.
    """

    replies: int
    exact_match: float
    chrf: float


def torch_replies(checkpoint: Path, samples: Sequence[Sample]) -> list[str]:
    """What torch fp32 says to each history."""
    from transformers import BlenderbotForConditionalGeneration

    return _said(BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval(), checkpoint, samples)


def exported_replies(exported: Path, samples: Sequence[Sample]) -> list[str]:
    """What an exported folder says: in our engine where it is ours, in the stock class otherwise."""
    if (exported / MANIFEST).is_file():
        from service.ort_model import ORTBlenderbotForConditionalGeneration

        return _said(ORTBlenderbotForConditionalGeneration.from_pretrained(exported), exported, samples)
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    return _said(ORTModelForSeq2SeqLM.from_pretrained(exported), exported, samples)


def likeness(reference: Sequence[str], found: Sequence[str]) -> Likeness:
    """Compare replies one by one."""
    from sacrebleu import corpus_chrf

    same = sum(a == b for a, b in zip(reference, found, strict=True))
    return Likeness(len(found), same / len(found), corpus_chrf(list(found), [list(reference)]).score)


def _said(model: Any, folder: Path, samples: Sequence[Sample]) -> list[str]:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = []
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        with torch.inference_mode():
            reply = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        said.append(tokenizer.decode(reply, skip_special_tokens=True).strip())
    return said
