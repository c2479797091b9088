"""An exported model as the engine drives it: one reply at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from pathlib import Path

from service.engine.model import ORTBlenderbotForConditionalGeneration
from service.engine.sequence import Sequence


@dataclass(frozen=True)
class ChatModel:
    """A model in memory.

    Attributes:
        network: the model.
        window: positions of the encoder, in tokens.
    """

    network: ORTBlenderbotForConditionalGeneration
    window: int

    def generate(self, source: Ids[int], *, max_time_s: float) -> list[int]:
        """Decode one reply by the model's own generation settings.

        Args:
            source: token ids of the history, at most `window`, ending in the end token.
            max_time_s: seconds after which decoding stops where it is.

        Returns:
            Token ids of the reply, start and end tokens included.
        """
        end = time.monotonic() + max_time_s
        sequence = Sequence(list(source), self.network.settings)
        batch = self.network.batch()
        batch.add(sequence)
        while len(batch) and time.monotonic() < end:
            batch.step()
        return sequence.result


def load(folder: Path, *, threads: int = 0) -> ChatModel:
    """Load an exported folder.

    Args:
        folder: written by `python -m export`.
        threads: processor threads; 0 means one for each core this process may use.

    Raises:
        ModelFolderError: the folder is incomplete.
        UnsupportedSetting: its generation settings ask for what the engine does not do, or for too long a reply.
    """
    network = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=threads)
    network.check(network.settings, network.window)
    return ChatModel(network, network.window)
