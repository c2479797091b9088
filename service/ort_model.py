"""The model class: an exported folder behind the interface of transformers."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from service.engine import configuration
from service.engine.batch import Batch
from service.engine.errors import UnsupportedSetting
from service.engine.kernels import library
from service.engine.network import Network, session_options
from service.engine.sequence import Sequence
from service.engine.settings import MOST_ROWS, DecodingSettings


class ORTBlenderbotForConditionalGeneration(ORTModelForSeq2SeqLM):  # type: ignore[misc]
    """Blenderbot on the fused decoder step, with a beam search of its own.

    `generate` gives the tokens that transformers gives. The decoder of the stock class is not loaded: for `forward`
    and for everything else that works on raw logits, load the same folder with `ORTModelForSeq2SeqLM`.
    """

    def __init__(self, network: Network, config: PretrainedConfig, generation_config: GenerationConfig) -> None:
        self.network = network
        self.config = config
        self.generation_config = generation_config
        self.settings = DecodingSettings.from_generation_config(generation_config.to_diff_dict())
        self._idle_batch: Batch | None = None

    @classmethod
    def from_pretrained(
        cls, model_id: str | Path, *, threads: int = 0, kernels: str = library.AUTO
    ) -> ORTBlenderbotForConditionalGeneration:
        """Load a folder written by `python -m export`.

        Args:
            model_id: the folder.
            threads: processor threads; 0 means one for each core this process may use.
            kernels: `auto` for our own where they are built and the processor has them, `stock` for ONNX Runtime's, or
                the name of an instruction set (see `service.engine.kernels.library.instruction_sets`).

        Raises:
            ValueError: there are no kernels of that name.
            ModelFolderError: the folder is incomplete, or this ONNX Runtime lacks an operator.
        """
        folder = Path(model_id)
        sizes, _ = configuration.read(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        network = Network(folder, sizes, session_options(threads), library.choose(kernels))
        return cls(network, config, generation_config)

    @property
    def window(self) -> int:
        """Positions of encoder and decoder, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def generate(
        self,
        input_ids: torch.Tensor,
        generation_config: GenerationConfig | None = None,
        attention_mask: torch.Tensor | None = None,
        **settings: Any,
    ) -> torch.Tensor:
        """Write a reply to each source, by the model's own settings where none are given.

        Args:
            input_ids: [batch, source].
            generation_config: what differs in it from the defaults of transformers goes before the model's own.
            attention_mask: [batch, source], 0 for padding; None takes pad tokens for padding.
            settings: as in transformers (`num_beams`, `min_length`, `do_sample`, ...) and `seed`.

        Returns:
            LongTensor [batch, length], start token first, padded with the pad token.

        Raises:
            UnsupportedSetting: a setting that this engine does not do; the message names it.
        """
        base = self.settings
        if generation_config is not None:
            base = base.override(generation_config.to_diff_dict())
        decoding = base.override(settings)
        mask = input_ids != decoding.pad_token_id if attention_mask is None else attention_mask
        sequences = [Sequence(ids[kept.bool()].numpy(), decoding) for ids, kept in zip(input_ids, mask, strict=True)]
        for sequence in sequences:
            self.check(decoding, len(sequence.source))
        self._decode(sequences, decoding)
        replies = [torch.tensor(sequence.result, dtype=torch.long) for sequence in sequences]
        return torch.nn.utils.rnn.pad_sequence(replies, batch_first=True, padding_value=decoding.pad_token_id)

    def batch(self) -> Batch:
        """An empty running batch, for a caller that decides itself who joins and when."""
        return Batch(self.network)

    def check(self, settings: DecodingSettings, source_length: int) -> None:
        """Refuse what does not fit the model's positions.

        Raises:
            UnsupportedSetting: saying which limit is passed.
        """
        settings.check_window(self.window)
        if not 0 < source_length <= self.window:
            raise UnsupportedSetting(
                f"The source has {source_length} tokens, and this model takes from 1 to {self.window}."
            )

    def _decode(self, sequences: list[Sequence], settings: DecodingSettings) -> None:
        batch, self._idle_batch = self._idle_batch, None
        if batch is None:
            batch = self.batch()
        waiting = deque(sequences)
        while waiting or len(batch):
            while waiting and (not len(batch) or (len(batch) + 1) * settings.num_beams <= MOST_ROWS):
                batch.add(waiting.popleft())
            batch.step()
        self._idle_batch = batch
