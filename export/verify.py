"""Compares an exported folder with its checkpoint, token by token, in a process of its own.

`python -m export.verify CHECKPOINT EXPORTED` prints one JSON object: replies compared and equal, with greedy and with
beam search, for the stock class and for the fused decoder, and the largest gap among those that differ. Torch computes
in fp32 with one matrix in memory at a time, so that this takes no more of it for a larger model.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

if TYPE_CHECKING:
    from transformers import BlenderbotForConditionalGeneration

    from export.tensors import Weights

PROMPTS = (
    "Hello, how are you today?",
    "My name is Alex and I have a small dog at home.",
    "What do you like to eat for dinner on a rainy evening?",
)
NEW_TOKENS = 20


class StreamedLinear(torch.nn.Module):
    """A linear layer that reads its matrix from the checkpoint whenever it is used; layers of one shape share room."""

    rooms: ClassVar[dict[tuple[int, ...], torch.Tensor]] = {}

    def __init__(self, weights: Weights, name: str, bias: torch.nn.Parameter | None) -> None:
        super().__init__()
        self._weights, self._name = weights, name
        self._room = self.rooms.setdefault(weights.shapes[name], torch.empty(weights.shapes[name]))
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._weights.copy(self._name, self._room)
        return torch.nn.functional.linear(x, self._room, self.bias)


def load_streamed(checkpoint: Path) -> BlenderbotForConditionalGeneration:
    """The model of a checkpoint in fp32, as torch runs it, its matrices left on the disk."""
    from transformers import BlenderbotForConditionalGeneration

    from export.checkpoint import Checkpoint, read_settings
    from export.tensors import Weights

    settings = read_settings(Checkpoint(checkpoint, str(checkpoint), None))
    weights = Weights(checkpoint, settings.config)
    with torch.device("meta"):
        model = BlenderbotForConditionalGeneration(settings.config)
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            model.set_submodule(name, StreamedLinear(weights, f"{name}.weight", module.bias))
    left = model.state_dict().keys()
    model.load_state_dict(
        {name: weights.read(name) for name in weights.shapes if name in left}, strict=False, assign=True
    )
    model.generation_config = settings.generation
    return model.eval()


def compare(checkpoint: Path, exported: Path) -> dict[str, Any]:
    """Generate replies to a few prompts with torch and with both ways to run the export, and count equal ones."""
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer

    from export.parity import tie_gap
    from service.ort_model import ORTBlenderbotForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=False)
    sources = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    candidates = {
        "stock": _generate(ORTModelForSeq2SeqLM.from_pretrained(exported), sources),
        "fused": _generate(ORTBlenderbotForConditionalGeneration.from_pretrained(exported), sources),
    }
    model = load_streamed(checkpoint)
    reference = _generate(model, sources)
    gaps: dict[tuple[int, int, tuple[int, ...]], float] = {}
    replies: list[dict[str, Any]] = []
    for name, candidate in candidates.items():
        for beams, expected in reference.items():
            settings = {"num_beams": beams, "length_penalty": model.generation_config.length_penalty}
            for number, found in enumerate(candidate[beams]):
                if found != expected[number] and (beams, number, tuple(found)) not in gaps:
                    gap = tie_gap(model, sources[number], expected[number], found, settings)
                    gaps[beams, number, tuple(found)] = gap
            equal = sum(one == other for one, other in zip(candidate[beams], expected, strict=True))
            replies.append({"decoder": name, "beams": beams, "equal": equal, "compared": len(sources)})
    return {"replies": replies, "largest_gap": max(gaps.values(), default=0.0)}


def _generate(model: Any, sources: list[list[int]]) -> dict[int, list[list[int]]]:
    """Replies by number of beams, greedy ones first; all sources in one batch, so that matrices are read once."""
    from export.parity import strip_padding

    settings = model.generation_config
    pad_id = settings.pad_token_id or 0
    rows = [torch.tensor(ids) for ids in sources]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id)
    masks = [torch.ones_like(row) for row in rows]
    mask = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True, padding_value=0)
    replies: dict[int, list[list[int]]] = {}
    for width in sorted({1, settings.num_beams}):
        found = model.generate(
            input_ids=ids,
            attention_mask=mask,
            num_beams=width,
            do_sample=False,
            num_return_sequences=1,
            pad_token_id=pad_id,
            return_dict_in_generate=False,
            min_new_tokens=min(NEW_TOKENS, settings.min_length),
            max_new_tokens=NEW_TOKENS,
        )
        replies[width] = [strip_padding(reply, pad_id) for reply in found.tolist()]
    return replies


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checkpoint, exported = (Path(argument) for argument in arguments)
    print(json.dumps(compare(checkpoint, exported)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
