"""An exported model as the engine drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.engine import configuration
from service.engine.batch import Batch
from service.engine.kernels import library
from service.engine.kernels.library import AUTO, Kernels
from service.engine.network import Network, session_options
from service.engine.settings import DecodingSettings


@dataclass(frozen=True)
class ChatModel:
    """A model in memory.

    Attributes:
        network: what computes a step.
        settings: how the model decodes by itself.
        window: positions of encoder and decoder, in tokens.
        vocabulary: tokens among which the model chooses.
    """

    network: Network
    settings: DecodingSettings
    window: int
    vocabulary: int

    @property
    def kernels(self) -> Kernels:
        """What multiplies."""
        return self.network.kernels

    def batch(self) -> Batch:
        """An empty running batch."""
        return Batch(self.network)


def load(folder: Path, *, threads: int = 0, kernels: str = AUTO) -> ChatModel:
    """Load an exported folder.

    Args:
        folder: written by `python -m export`.
        threads: processor threads; 0 means one for each core this process may use.
        kernels: `auto` or `stock`.

    Raises:
        ModelFolderError: the folder is incomplete, or not of a model that the engine runs.
        UnsupportedSetting: its generation settings ask for what the engine does not do, or for too long a reply.
    """
    config, generation = configuration.read(folder)
    window: int = config["max_position_embeddings"]
    settings = DecodingSettings.from_generation_config(generation)
    settings.check_window(window)
    network = Network(folder, config, session_options(threads), library.choose(kernels))
    return ChatModel(network, settings, window, config["vocab_size"])
