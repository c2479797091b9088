"""An exported model as the engine drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.engine.batch import Batch
from service.engine.model import ORTBlenderbotForConditionalGeneration
from service.engine.settings import DecodingSettings


@dataclass(frozen=True)
class ChatModel:
    """A model in memory.

    Attributes:
        network: the model.
        window: positions of the encoder, in tokens.
    """

    network: ORTBlenderbotForConditionalGeneration
    window: int

    @property
    def settings(self) -> DecodingSettings:
        """How the model decodes by itself."""
        return self.network.settings

    def batch(self) -> Batch:
        """An empty running batch."""
        return self.network.batch()


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
