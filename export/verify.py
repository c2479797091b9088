"""Compares an exported folder with its checkpoint, token by token, in a process of its own.

`python -m export.verify CHECKPOINT EXPORTED` prints one JSON object: replies compared and equal, with greedy and with
beam search, for the stock class and for the fused decoder, and the largest gap among those that differ.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

PROMPTS = (
    "Hello, how are you today?",
    "My name is Alex and I have a small dog at home.",
    "What do you like to eat for dinner on a rainy evening?",
)
NEW_TOKENS = 20


def compare(checkpoint: Path, exported: Path) -> dict[str, Any]:
    """Generate replies to a few prompts with torch and with both ways to run the export, and count equal ones."""
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    from export.parity import strip_padding, tie_gap
    from service.engine.model import ORTBlenderbotForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=False)
    sources = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    candidates = {
        "stock": _generate(ORTModelForSeq2SeqLM.from_pretrained(exported), sources),
        "fused": _generate(ORTBlenderbotForConditionalGeneration.from_pretrained(exported), sources),
    }
    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval()
    reference = _generate(model, sources)
    pad_id = model.generation_config.pad_token_id
    replies: list[dict[str, Any]] = []
    largest = 0.0
    for name, candidate in candidates.items():
        for beams, expected_replies in reference.items():
            settings = {"num_beams": beams, "length_penalty": model.generation_config.length_penalty}
            equal = 0
            for source, expected, found in zip(sources, expected_replies, candidate[beams], strict=True):
                expected, found = strip_padding(expected, pad_id), strip_padding(found, pad_id)
                if expected == found:
                    equal += 1
                else:
                    largest = max(largest, tie_gap(model, source, expected, found, settings))
            replies.append({"decoder": name, "beams": beams, "equal": equal, "compared": len(sources)})
    return {"replies": replies, "largest_gap": largest}


def _generate(model: Any, sources: list[list[int]]) -> dict[int, list[list[int]]]:
    import torch

    beams = model.generation_config.num_beams
    replies: dict[int, list[list[int]]] = {}
    for width in sorted({1, beams}):
        replies[width] = [
            model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                num_beams=width,
                min_new_tokens=min(NEW_TOKENS, model.generation_config.min_length),
                max_new_tokens=NEW_TOKENS,
            )[0].tolist()
            for ids in sources
        ]
    return replies


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checkpoint, exported = (Path(argument) for argument in arguments)
    print(json.dumps(compare(checkpoint, exported)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
