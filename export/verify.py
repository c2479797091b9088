"""Compares an exported folder with its checkpoint, token by token, in a process of its own.

`python -m export.verify CHECKPOINT EXPORTED QUANTIZATION` prints one JSON object: replies compared and equal, with
greedy and with beam search, for the stock class and for ours, and the largest gap among those that differ.

They are compared with what torch's own `generate` writes in fp32. What its network says after each hypothesis that the
export weighed is computed beforehand, in one pass a source; where torch turns to another one, that takes one more pass.
Beside a quantised export, it would for most tokens: it is confined to the hypotheses of the export, without a gap.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoTokenizer, BlenderbotForConditionalGeneration, LogitsProcessor
from transformers.modeling_outputs import Seq2SeqLMOutput

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


class Hypotheses(LogitsProcessor):  # type: ignore[misc]
    """Notes all hypotheses that a search of transformers weighs, by source."""

    def __init__(self, sources: int) -> None:
        self.noted: list[set[tuple[int, ...]]] = [set() for _ in range(sources)]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for row, ids in enumerate(input_ids.tolist()):
            self.noted[row * len(self.noted) // len(input_ids)].add(tuple(ids))
        return scores


class Reference:
    """Has a torch model answer one source from what it has weighed; only a free one weighs more on the way."""

    def __init__(self, model: BlenderbotForConditionalGeneration, source: list[int], *, free: bool) -> None:
        self._model, self._source, self._free = model, source, free
        self._logits: dict[tuple[int, ...], torch.Tensor] = {}  # of the next token [vocabulary], by hypothesis
        model.forward = self._recall

    def weigh(self, hypotheses: Iterable[tuple[int, ...]]) -> None:
        """Compute what comes next after these hypotheses and all that they begin with, in one pass.

        They are laid out as one sequence, in which a token attends to those of its own hypothesis.
        """
        begun = sorted({ids[:end] for ids in hypotheses for end in range(1, len(ids) + 1)}, key=len)
        places = {ids: place for place, ids in enumerate(begun)}
        mask = torch.full((len(begun), len(begun)), torch.finfo(torch.float32).min)
        for ids, place in places.items():
            mask[place, [places[ids[:end]] for end in range(1, len(ids) + 1)]] = 0.0
        with torch.inference_mode():
            output = BlenderbotForConditionalGeneration.forward(
                self._model,
                input_ids=torch.tensor([self._source]),
                decoder_input_ids=torch.tensor([[ids[-1] for ids in begun]]),
                decoder_attention_mask=mask[None, None],
                cache_position=torch.tensor([len(ids) - 1 for ids in begun]),
                use_cache=False,
            )
        self._logits.update(zip(begun, output.logits[0], strict=True))

    def log_probability(self, reply: Sequence[int]) -> float:
        """Of a reply after its first id, in nats."""
        logits = (self._logits[tuple(reply[:end])].double() for end in range(1, len(reply)))
        return sum(float(row.log_softmax(0)[token]) for row, token in zip(logits, reply[1:], strict=True))

    def _recall(self, decoder_input_ids: torch.Tensor, **_: Any) -> Seq2SeqLMOutput:
        rows = [tuple(ids) for ids in decoder_input_ids.tolist()]
        if self._free and (unknown := set(rows) - self._logits.keys()):
            self.weigh(unknown)
        unlikely = torch.zeros(self._model.config.vocab_size)
        return Seq2SeqLMOutput(logits=torch.stack([self._logits.get(ids, unlikely) for ids in rows])[:, None])


def load_streamed(checkpoint: Path) -> BlenderbotForConditionalGeneration:
    """The model of a checkpoint in fp32, as torch runs it; its matrices are read whenever they are used."""
    settings = read_settings(checkpoint)
    weights = Weights(checkpoint, settings.config)
    model = hollow_model(settings.config)

    def product(layer: torch.nn.Linear, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, weights.read(name), layer.bias)

    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            del layer.weight
            layer.forward = partial(product, layer, f"{name}.weight")  # type: ignore[method-assign]
    held = weights.shapes.keys() & model.state_dict().keys()
    model.load_state_dict({name: weights.read(name) for name in held}, strict=False, assign=True)
    model.generation_config = settings.generation
    return model.eval()


def compare(checkpoint: Path, exported: Path, *, free: bool) -> dict[str, Any]:
    """Reply to a few prompts with torch and with both ways to run the export, and count equal replies."""
    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=False)
    window = read_settings(checkpoint).config.max_position_embeddings
    sources = [tokenizer(prompt).input_ids[-window:] for prompt in PROMPTS]
    weighed = Hypotheses(len(sources))
    candidates = {
        "stock class": _replies(ORTModelForSeq2SeqLM.from_pretrained(exported), sources, logits_processor=[weighed]),
        "ours": _replies(ORTBlenderbotForConditionalGeneration.from_pretrained(exported), sources),
    }
    model = load_streamed(checkpoint)
    penalty = model.generation_config.length_penalty
    equal: Counter[str] = Counter()
    gaps = [0.0]
    for number, source in enumerate(sources):
        reference = Reference(model, source, free=free)
        reference.weigh({*weighed.noted[number], *(tuple(found[number]) for found in candidates["ours"].values())})
        for beams, (expected,) in _replies(model, [source], use_cache=False).items():
            for decoder, candidate in candidates.items():
                equal[f"{decoder}, beam width {beams}"] += (found := candidate[beams][number]) == expected
                if free and found != expected:
                    gaps.append(tie_gap(reference.log_probability, expected, found, penalty if beams > 1 else None))
    return {"compared": len(sources), "equal": equal, "largest_gap": max(gaps) if free else None}


def _replies(model: Any, sources: list[list[int]], **others: Any) -> dict[int, list[list[int]]]:
    """Replies by number of beams, greedy ones first; all sources in one batch, so that matrices are read once."""
    own, longest = model.generation_config, max(map(len, sources))
    pad_id = own.pad_token_id or 0
    settings = {"do_sample": False, "num_return_sequences": 1, "return_dict_in_generate": False, **others}
    length = min(NEW_TOKENS, model.config.max_position_embeddings - 1)
    settings |= {"min_new_tokens": min(length, own.min_length or 0), "max_new_tokens": length}
    settings["input_ids"] = torch.tensor([[*source, *[pad_id] * (longest - len(source))] for source in sources])
    settings["attention_mask"] = torch.tensor([[place < len(source) for place in range(longest)] for source in sources])
    found = {beams: model.generate(num_beams=beams, **settings).tolist() for beams in sorted({1, own.num_beams})}
    return {beams: [strip_padding(reply, pad_id) for reply in replies] for beams, replies in found.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checkpoint, exported, quantization = sys.argv[1:]
    print(json.dumps(compare(Path(checkpoint), Path(exported), free=quantization == "none")))
