"""Compares an exported folder with its checkpoint, token by token, in a process of its own.

`python -m export.verify CHECKPOINT EXPORTED` prints one JSON object: replies compared and equal, with greedy and with
beam search, for the stock class and for the fused decoder, and the largest gap among those that differ. Torch computes
in fp32 and reads each matrix when it is used, so that its memory does not grow with the model.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

from export.checkpoint import Checkpoint
from export.parity import strip_padding, tie_gap
from export.settings import read_settings
from export.tensors import Weights, hollow_model
from service.ort_model import ORTBlenderbotForConditionalGeneration

PROMPTS = (
    "Hello, how are you today?",
    "My name is Alex and I have a small dog at home.",
    "What do you like to eat for dinner on a rainy evening?",
)
NEW_TOKENS = 20


def load_streamed(checkpoint: Path) -> BlenderbotForConditionalGeneration:
    """The model of a checkpoint in fp32, as torch runs it; its matrices are read whenever they are used."""
    settings = read_settings(Checkpoint(checkpoint, str(checkpoint), None))
    weights = Weights(checkpoint, settings.config)
    model = hollow_model(settings.config)
    room: dict[tuple[int, ...], torch.Tensor] = {}  # one matrix of each shape

    def product(layer: torch.nn.Linear, name: str, x: torch.Tensor) -> torch.Tensor:
        matrix = room.setdefault(weights.shapes[name], torch.empty(weights.shapes[name]))
        weights.copy(name, matrix)
        return torch.nn.functional.linear(x, matrix, layer.bias)

    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            del layer.weight
            layer.forward = partial(product, layer, f"{name}.weight")  # type: ignore[method-assign]
    held = weights.shapes.keys() & model.state_dict().keys()
    model.load_state_dict({name: weights.read(name) for name in held}, strict=False, assign=True)
    model.generation_config = settings.generation
    return model.eval()


def compare(checkpoint: Path, exported: Path) -> dict[str, Any]:
    """Generate replies to a few prompts with torch and with both ways to run the export, and count equal ones."""
    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=False)
    sources = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    candidates = {
        "stock": _generate(ORTModelForSeq2SeqLM.from_pretrained(exported), sources),
        "fused": _generate(ORTBlenderbotForConditionalGeneration.from_pretrained(exported), sources),
    }
    model = load_streamed(checkpoint)
    penalty = model.generation_config.length_penalty
    largest_gap = 0.0
    replies: list[dict[str, Any]] = []
    reference = _generate(model, sources)
    for name, candidate in candidates.items():
        for beams, expected in reference.items():
            settings = {"num_beams": beams, "length_penalty": penalty}
            pairs = list(zip(sources, expected, candidate[beams], strict=True))
            gaps = [tie_gap(model, *pair, settings) for pair in pairs if pair[1] != pair[2]]
            replies.append({"decoder": name, "beams": beams, "equal": len(pairs) - len(gaps), "compared": len(pairs)})
            largest_gap = max([largest_gap, *gaps])
    return {"replies": replies, "largest_gap": largest_gap}


def _generate(model: Any, sources: list[list[int]]) -> dict[int, list[list[int]]]:
    """Replies by number of beams, greedy ones first; all sources in one batch, so that matrices are read once."""
    own = model.generation_config
    pad_id = own.pad_token_id or 0
    rows = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    ids = rows([torch.tensor(source) for source in sources], padding_value=pad_id)
    mask = rows([torch.ones(len(source), dtype=torch.long) for source in sources])
    settings = {"do_sample": False, "num_return_sequences": 1, "return_dict_in_generate": False, "pad_token_id": pad_id}
    settings |= {"min_new_tokens": min(NEW_TOKENS, own.min_length), "max_new_tokens": NEW_TOKENS}
    replies: dict[int, list[list[int]]] = {}
    for width in sorted({1, own.num_beams}):
        found = model.generate(input_ids=ids, attention_mask=mask, num_beams=width, **settings)
        replies[width] = [strip_padding(reply, pad_id) for reply in found.tolist()]
    return replies


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps(compare(*map(Path, sys.argv[1:]))))
