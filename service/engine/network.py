"""The ONNX sessions of an exported folder, and what goes in and out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.folder import CROSS_STATES, DECODER_STEP, ENCODER, WEIGHTS, ModelFolderError
from service.engine.kernels.library import Kernels
from service.engine.kernels.rewrite import rewritten
from service.engine.kv_cache import CacheShape, KVCache
from service.engine.machine import available_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import SessionOptions


@dataclass(frozen=True)
class CrossStates:
    """Keys and values of every cross-attention for a batch of requests.

    Attributes:
        arrays: cross_key.L and cross_value.L of each decoder layer in turn, float32 [request, heads, source, head_dim].
        mask: 1 for tokens of the source, int32 [request, source].
    """

    arrays: Sequence[NDArray[np.float32]]
    mask: NDArray[np.int32]

    @staticmethod
    def join(states: Sequence[CrossStates]) -> CrossStates:
        """Requests side by side, shorter sources padded."""
        if len(states) == 1:
            return states[0]
        longest = max(state.mask.shape[1] for state in states)

        def padded(array: NDArray[Any], axis: int) -> NDArray[Any]:
            widths = [(0, 0)] * array.ndim
            widths[axis] = (0, longest - array.shape[axis])
            return np.pad(array, widths)

        return CrossStates(
            [
                np.concatenate([padded(state.arrays[index], 2) for state in states])
                for index in range(len(states[0].arrays))
            ],
            np.concatenate([padded(state.mask, 1) for state in states]),
        )


class Network:
    """Encoder, cross-attention states and decoder step of one model. One thread at a time may use it."""

    def __init__(self, folder: Path, config: Mapping[str, Any], options: SessionOptions, kernels: Kernels) -> None:
        """Create the sessions.

        Args:
            folder: written by `python -m export`.
            config: content of its `config.json`.
            options: of every session; our operators are added to them.
            kernels: what multiplies.

        Raises:
            ModelFolderError: a graph is missing, was written by another version of the exporter, or holds an operator
                that this ONNX Runtime lacks.
        """
        from onnxruntime import InferenceSession

        weights = (folder / WEIGHTS).resolve()
        if kernels.library:
            options.register_custom_ops_library(str(kernels.library))
            # A graph that is not read from a file has to be told where the weights are, links followed.
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(weights.parent)
            )

        def session(name: str) -> InferenceSession:
            path = folder / name
            if not path.exists():
                raise ModelFolderError(f"{path} is missing; export the model again with this version of the exporter.")
            try:
                graph = rewritten(path, kernels.name, weights.name) if kernels.library else path
                return InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            except Exception as error:
                reason = str(error).splitlines()[0].replace(str(path), name)[:200]
                raise ModelFolderError(
                    f"{path} cannot be loaded by this ONNX Runtime ({reason}); "
                    "install the versions in requirements.txt and export the model again."
                ) from error

        self.kernels = kernels
        self._encoder = session(ENCODER)
        self._cross = session(CROSS_STATES)
        self._step = session(DECODER_STEP)
        if "places" not in {argument.name for argument in self._step.get_inputs()}:
            raise ModelFolderError(
                f"{folder / DECODER_STEP} was written by another version of the exporter; export the model again."
            )
        self._layers = int(config["decoder_layers"])
        self._vocabulary = int(config["vocab_size"])
        heads = int(config["decoder_attention_heads"])
        self._head_shape = (heads, int(config["d_model"]) // heads)
        self._cross_names = [f"cross_{kind}.{layer}" for layer in range(self._layers) for kind in ("key", "value")]
        self._cache_names = [f"{kind}.{layer}" for layer in range(self._layers) for kind in ("key", "value")]

    def cache(self) -> KVCache:
        """An empty cache."""
        return KVCache(CacheShape(self._layers, *self._head_shape))

    def encode(self, source: NDArray[np.int64]) -> CrossStates:
        """Run the encoder once for one request of token ids [source]."""
        ids = source[None]
        (hidden,) = self._encoder.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        arrays = self._cross.run(self._cross_names, {"last_hidden_state": hidden})
        return CrossStates(arrays, np.ones(ids.shape, np.int32))

    def bind(self, cache: KVCache, cross: CrossStates, rows: int) -> StepBinding:
        """Attach the large arrays of a batch, which stay the same from step to step while its rows and slots do."""
        from onnxruntime import OrtValue

        binding = self._step.io_binding()
        arrays: list[Any] = []

        def value(array: NDArray[Any]) -> Any:
            arrays.append(array)
            return OrtValue.ortvalue_from_numpy(array)

        for name, buffer in zip(self._cache_names, cache.buffers, strict=True):
            shared = value(buffer)
            binding.bind_ortvalue_input(f"past_{name}", shared)
            binding.bind_ortvalue_output(f"present_{name}", shared)
        for name, array in zip(self._cross_names, cross.arrays, strict=True):
            binding.bind_ortvalue_input(name, value(array))
        binding.bind_ortvalue_input("source_mask", value(cross.mask))
        outputs = {}
        for name in ("logits", "log_probabilities"):
            outputs[name] = np.empty((rows, 1, self._vocabulary), np.float32)
            binding.bind_ortvalue_output(name, value(outputs[name]))
        return StepBinding(self._step, binding, arrays, outputs)


@dataclass
class StepBinding:
    """A decoder step with its large arrays attached."""

    _session: Any
    _binding: Any
    _held: list[Any]
    _outputs: Mapping[str, NDArray[np.float32]]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        """Compute one token for every row.

        Args:
            inputs: the small arrays of the step, by name of the graph's input.

        Returns:
            `logits` and `log_probabilities`, [row, 1, vocabulary]; overwritten by the next step.
        """
        for name, array in inputs.items():
            self._binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(self._binding)
        return self._outputs


def session_options(threads: int) -> SessionOptions:
    """Options for the sessions of a network.

    Args:
        threads: processor threads; 0 means one for each core this process may use.
    """
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = 3
    # Each session has threads of its own. Those of one that has just run would otherwise spin on for some milliseconds,
    # on the cores that the next one needs: a third of the time until the second token.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
