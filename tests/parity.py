"""Tokens of an exported folder beside those of torch `generate`, for tests and acceptance checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from export.parity import TIE_TOLERANCE, strip_padding, tie_gap


@dataclass(frozen=True)
class Difference:
    """A reply that is not the reference's.

    Attributes:
        prompt: text that was answered.
        expected: token ids of torch.
        found: token ids of the exported model.
        gap: distance of the two by the score that chose between them, in nats; below `TIE_TOLERANCE` it is a tie.
    """

    prompt: str
    expected: tuple[int, ...]
    found: tuple[int, ...]
    gap: float


@dataclass(frozen=True)
class Parity:
    """Outcome of one comparison: how many replies were compared, and those that differ."""

    replies: int
    differences: tuple[Difference, ...]

    @property
    def ties(self) -> int:
        return sum(difference.gap < TIE_TOLERANCE for difference in self.differences)

    @property
    def equal(self) -> int:
        return self.replies - len(self.differences)

    @property
    def agrees(self) -> bool:
        """Whether every reply is equal, or torch itself can hardly choose between the two."""
        return self.equal + self.ties == self.replies

    def __str__(self) -> str:
        largest = max((difference.gap for difference in self.differences), default=0.0)
        return f"{self.equal} of {self.replies} equal, {self.ties} ties, largest gap {largest:.1e} nats"


def compare(
    checkpoint: Path,
    exported: Path,
    prompts: Sequence[str],
    *,
    beams: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Parity:
    """Answer each prompt with torch and with the stock ONNX class, by the checkpoint's own settings but for the beams.

    Args:
        checkpoint: folder of a Blenderbot checkpoint, run in fp32.
        exported: folder that was exported from it.
        prompts: single messages; one that is too long for the encoder is cut from the left.
        beams: width of the beam search, 1 for greedy.
        tell: told about each reply that differs.
    """
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(exported)
    reference = BlenderbotForConditionalGeneration.from_pretrained(checkpoint).float().eval()
    candidate = stock_model(exported)
    window = reference.config.max_position_embeddings
    penalty = reference.generation_config.length_penalty if beams > 1 else None
    differences = []
    for prompt in prompts:
        source = tokenizer(prompt, verbose=False).input_ids[-window:]
        expected, found = reply(reference, source, beams), reply(candidate, source, beams)
        if found != expected:
            gap = tie_gap(partial(log_probability, reference, source), expected, found, penalty)
            differences.append(Difference(prompt, tuple(expected), tuple(found), gap))
            tell(f"{prompt[:40]!r}: gap {gap:.1e} nats")
    return Parity(len(prompts), tuple(differences))


def stock_model(exported: Path) -> Any:
    """An exported folder in the stock class, on one thread: those of a tiny model wait for each other."""
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    options = SessionOptions()
    options.intra_op_num_threads = 1
    return ORTModelForSeq2SeqLM.from_pretrained(exported, session_options=options)


def log_probability(model: Any, source: Sequence[int], target: Sequence[int]) -> float:
    """Total log-probability (nats) that the torch `model` gives to a target after its first id, given `source`."""
    import torch

    ids = torch.tensor([target])
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=ids[:, :-1]).logits
    return -float(torch.nn.functional.cross_entropy(logits[0].double(), ids[0, 1:], reduction="sum"))


def reply(model: Any, source: Sequence[int], beams: int) -> list[int]:
    """Token ids of one reply of a torch or ONNX model, without padding."""
    import torch

    ids = torch.tensor([list(source)], dtype=torch.long)
    with torch.inference_mode():
        output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=beams)
    return strip_padding(output[0].tolist(), model.generation_config.pad_token_id)
