"""Loading an exported folder and generating replies from token ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimum.onnxruntime import ORTModelForSeq2SeqLM


@dataclass(frozen=True)
class ChatModel:
    """An exported model in memory.

    Attributes:
        network: the ONNX sessions with the model's own generation settings.
        window: positions of the encoder, in tokens.
    """

    network: ORTModelForSeq2SeqLM
    window: int

    def generate(self, source: Sequence[int], *, max_time_s: float) -> list[int]:
        """Decode one reply by the model's own generation settings.

        Args:
            source: token ids of the history, at most `window`, ending in the end token.
            max_time_s: seconds after which decoding stops where it is.

        Returns:
            Token ids of the reply, start and end tokens included.
        """
        import torch

        ids = torch.tensor([list(source)], dtype=torch.long)
        with torch.inference_mode():
            output = self.network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_time=max_time_s)
        return [int(token) for token in output[0]]


def load(folder: Path, *, threads: int = 0) -> ChatModel:
    """Load an exported folder.

    Args:
        folder: written by `python -m export`.
        threads: processor threads; 0 means one for each core this process may use.
    """
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    options = SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = 3
    network = ORTModelForSeq2SeqLM.from_pretrained(folder, session_options=options, local_files_only=True)
    return ChatModel(network, int(network.config.max_position_embeddings))


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
