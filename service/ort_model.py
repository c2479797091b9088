"""An exported folder as a model of transformers: the stock class, with a fast `generate`."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Sequence as Names
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from onnxruntime import InferenceSession, SessionOptions
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from optimum.onnxruntime.modeling_seq2seq import ORTDecoderForSeq2Seq, ORTEncoder
from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from models import manifest
from models.folder import CONFIG, ENCODER, GENERATION_CONFIG, MERGED_DECODER, ModelFolderError
from service.engine import configuration
from service.engine.batch import Batch
from service.engine.errors import UnsupportedSetting
from service.engine.kernels import library
from service.engine.network import Network
from service.engine.network import session_options as default_options
from service.engine.sequence import Sequence
from service.engine.settings import MAX_ROWS, DecodingSettings

CPU = "CPUExecutionProvider"
REMEDY = "load the folder with ORTModelForSeq2SeqLM"
HUB_OPTIONS = frozenset(
    {"revision", "force_download", "local_files_only", "trust_remote_code", "cache_dir", "token", "dtype"}
)


class _LoadedAtFirstUse:
    """Makes a part of the stock class load its ONNX session when something first asks for what the session knows."""

    def __init__(self, config: PretrainedConfig, session: _Session, use_io_binding: bool | None = None) -> None:
        self._arguments = (config, session, use_io_binding)
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        # Only what has not been set comes here.
        if name.startswith("__") or "_arguments" not in vars(self):
            raise AttributeError(name)
        with self._lock:
            if "session" not in vars(self):
                config, session, use_io_binding = self._arguments
                super().__init__(config, session.load(), use_io_binding)  # type: ignore[call-arg]
        return object.__getattribute__(self, name)


class _Encoder(_LoadedAtFirstUse, ORTEncoder):  # type: ignore[misc]
    pass


class _Decoder(_LoadedAtFirstUse, ORTDecoderForSeq2Seq):  # type: ignore[misc]
    pass


class _Session:
    """A session that has not been made yet."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        self._path = path
        self._options = options

    def load(self) -> InferenceSession:
        if not self._path.exists():
            raise ModelFolderError(f"{self._path} is missing; export the model again.")
        return InferenceSession(self._path, self._options, providers=[CPU])


class ORTBlenderbotForConditionalGeneration(ORTModelForSeq2SeqLM):  # type: ignore[misc]
    """Blenderbot on the fused decoder step, with a beam search of its own.

    `generate` gives the tokens that transformers gives, in a fraction of the time, and refuses by name what it does not
    do. Everything else is the stock class: `forward`, its loops over it, pipelines, `save_pretrained`. It keeps encoder
    and decoder of its own for that, which are loaded when they are first used.

    Attributes:
        network: encoder and fused decoder step.
    """

    _ort_encoder_class = _Encoder
    _ort_decoder_class = _Decoder

    def __init__(self, network: Network, **stock: Any) -> None:
        """
        Args:
            network: of the same folder.
            stock: arguments of the stock class.
        """
        super().__init__(**stock)
        self.network = network
        self._idle_batch: Batch | None = None

    @classmethod
    def from_pretrained(
        cls,
        model_id: str | Path,
        config: PretrainedConfig | None = None,
        *,
        export: bool = False,
        subfolder: str = "",
        threads: int = 0,
        kernels: str = library.AUTO,
        provider: str = CPU,
        providers: Names[str] | None = None,
        session_options: SessionOptions | None = None,
        use_io_binding: bool | None = None,
        use_cache: bool = True,
        generation_config: GenerationConfig | None = None,
        **hub: Any,
    ) -> ORTBlenderbotForConditionalGeneration:
        """Load a folder written by `python -m export`.

        Args:
            model_id: the folder.
            config: in place of the folder's own.
            export: not done here.
            subfolder: of the folder, that holds the model.
            threads: processor threads; 0 means one for each core this process may use.
            kernels: `auto` for our own where they are built and the processor has them, `stock` for ONNX Runtime's, or
                the name of an instruction set (see `service.engine.kernels.library.instruction_sets`).
            provider: `CPUExecutionProvider`.
            providers: the same, as a list.
            session_options: of every ONNX session, in place of `threads`.
            use_io_binding: of `forward`.
            use_cache: whether `forward` gives keys and values.
            generation_config: in place of the folder's own.
            hub: what the stock class takes for models on the Hub; it has no bearing on a folder.

        Raises:
            ValueError: there are no kernels of that name, or something is asked for that is not done here.
            ModelFolderError: the folder is incomplete, or this ONNX Runtime lacks an operator.
        """
        if unknown := sorted(set(hub) - HUB_OPTIONS):
            raise ValueError(f"{unknown[0]} is not supported here; {REMEDY}.")
        if export:
            raise ValueError(f"{model_id} is not exported here; export it with python -m export --model {model_id}")
        if other := [name for name in providers or [provider] if name != CPU]:
            raise ValueError(
                f"The provider {other[0]} is not supported here; load the folder with ORTModelForSeq2SeqLM."
            )
        folder = Path(model_id) / subfolder
        sizes, _ = configuration.read(folder)
        config = config or AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config.use_cache = use_cache
        if generation_config is None:
            generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)

        def options() -> SessionOptions:
            return session_options or default_options(threads)

        return cls(
            Network(folder, sizes, options(), library.choose(kernels)),
            config=config,
            generation_config=generation_config,
            encoder_session=_Session(folder / ENCODER, options()),
            decoder_session=_Session(folder / MERGED_DECODER, options()),
            use_io_binding=use_io_binding,
            model_save_dir=folder,
        )

    @property
    def settings(self) -> DecodingSettings:
        """How a reply is decoded where nothing else is asked for: by `generation_config`, which may be changed.

        Raises:
            UnsupportedSetting: it asks for what `generate` does not do.
        """
        return DecodingSettings.from_generation_config(self.generation_config.to_diff_dict())

    @property
    def window(self) -> int:
        """Positions of encoder and decoder, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of what goes in and out; the weights may have fewer bits."""
        return torch.float32

    def to(self, *args: Any, **kwargs: Any) -> ORTBlenderbotForConditionalGeneration:
        """Stay where it is.

        Raises:
            ValueError: another device is asked for.
        """
        for place in (*args, *kwargs.values()):
            if not isinstance(place, torch.dtype) and torch.device(place).type != "cpu":
                raise ValueError(
                    f"The device {place} is not supported here; load the folder with ORTModelForSeq2SeqLM."
                )
        return self

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
        sequences = [Sequence(ids[row.bool()].numpy(), decoding) for ids, row in zip(input_ids, mask, strict=True)]
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

    def _save_pretrained(self, save_directory: str | Path) -> None:
        """Copy what `save_pretrained` has not written yet, and record all of it, so that the folder can be served."""
        source, target = self.model_save_dir.resolve(), Path(save_directory).resolve()
        exported = manifest.read(source)
        if source != target:
            for name in exported.files:
                if name not in {CONFIG, GENERATION_CONFIG}:
                    shutil.copy(source / name, target / name)
        replace(exported, files=manifest.record_files(target)).write(target)

    def _decode(self, sequences: list[Sequence], settings: DecodingSettings) -> None:
        batch, self._idle_batch = self._idle_batch, None
        if batch is None:
            batch = self.batch()
        waiting = deque(sequences)
        while waiting or len(batch):
            while waiting and (not len(batch) or (len(batch) + 1) * settings.num_beams <= MAX_ROWS):
                batch.add(waiting.popleft())
            batch.step()
        self._idle_batch = batch
