"""One file for the weights of all graphs of a folder, each tensor of the checkpoint once in each form.

Encoder and decoder share the token embedding, and the two branches of the decoder share everything. Tensors begin at
page boundaries, so that ONNX Runtime maps the file instead of reading it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from export.progress import Advance
from export.quantizer import WeightScheme, quantize_matrix
from export.tensors import Weights
from models.folder import WEIGHTS

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

PAGE = 4096
SMALLEST_EXTERNAL = 1024


class Form(StrEnum):
    """How a tensor of the checkpoint is stored."""

    PACKED = "packed"  # quantised matrix, uint8 [N, K / block_size, block_size * bits / 8]
    SCALES = "scales"  # of a quantised matrix, float32 [N, K / block_size]
    TRANSPOSED = "transposed"  # matrix as MatMul takes it, float32 [K, N]
    PLAIN = "plain"  # float32 as it is
    HALF = "half"  # float16 as it is


@dataclass(frozen=True)
class Stored:
    """What an initialiser holds: tensors of the checkpoint, by name, end to end."""

    tensors: tuple[str, ...]
    form: Form


@dataclass(frozen=True)
class Graph:
    """A graph without its weights.

    Attributes:
        model: the graph; the initialisers named in `stored` are empty.
        stored: what they hold.
    """

    model: onnx.ModelProto
    stored: Mapping[str, Stored]


@dataclass(frozen=True)
class _Piece:
    """One tensor in one form: its place in the file, or its bytes where it is too small for one."""

    offset: int
    array: NDArray[Any]


class WeightFile:
    """Writes `weights.bin` and graphs that refer to it, into one folder."""

    def __init__(self, folder: Path, weights: Weights, scheme: WeightScheme, advance: Advance) -> None:
        """
        Args:
            folder: where the files go.
            weights: read one by one, as graphs need them.
            scheme: how matrices are quantised.
            advance: told about bytes of the checkpoint that are done.
        """
        self._folder, self._weights, self._scheme, self._advance = folder, weights, scheme, advance
        self._file = (folder / WEIGHTS).open("xb")
        self._pieces: dict[tuple[str, Form], _Piece] = {}

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def save(self, graph: Graph, name: str) -> None:
        """Write a graph as `name`, its initialisers of `SMALLEST_EXTERNAL` bytes or more in the weight file.

        A graph in which tensors stand end to end has to come before those that hold one of them by itself.
        """
        import onnx

        for tensor in graph.model.graph.initializer:
            if tensor.name in graph.stored:
                self._fill(tensor, graph.stored[tensor.name])
        onnx.save_model(graph.model, self._folder / name)

    def _fill(self, tensor: onnx.TensorProto, stored: Stored) -> None:
        from onnx.external_data_helper import set_external_data
        from onnx.helper import np_dtype_to_tensor_dtype

        if (stored.tensors[0], stored.form) not in self._pieces:
            self._write(stored)
        pieces = [self._pieces[name, stored.form] for name in stored.tensors]
        first = pieces[0].array
        elements = sum(piece.array.size for piece in pieces)
        if math.prod(tensor.dims) != elements:
            tensor.dims[:] = [sum(piece.array.shape[0] for piece in pieces), *first.shape[1:]]
        tensor.data_type = np_dtype_to_tensor_dtype(first.dtype)
        tensor.ClearField("float_data")
        length = elements * first.itemsize
        if length < SMALLEST_EXTERNAL:
            tensor.raw_data = b"".join(piece.array.tobytes() for piece in pieces)
        else:
            tensor.raw_data = b""
            set_external_data(tensor, WEIGHTS, offset=pieces[0].offset, length=length)
            tensor.ClearField("raw_data")

    def _write(self, stored: Stored) -> None:
        arrays = [self._weights.read(name).numpy() for name in stored.tensors]
        if stored.form in {Form.PACKED, Form.SCALES}:
            bits = self._scheme.bits_of(stored.tensors[0])
            assert bits is not None
            quantised = [quantize_matrix(array, self._scheme, bits) for array in arrays]
            self._append(stored.tensors, Form.PACKED, [packed for packed, _ in quantised])
            self._append(stored.tensors, Form.SCALES, [scales for _, scales in quantised])
        elif stored.form is Form.TRANSPOSED:
            self._append(stored.tensors, stored.form, [np.ascontiguousarray(array.T) for array in arrays])
        else:
            kind = np.float16 if stored.form is Form.HALF else np.float32
            self._append(stored.tensors, stored.form, [array.astype(kind, copy=False) for array in arrays])
        self._advance(sum(map(self._weights.bytes_of, stored.tensors)))

    def _append(self, names: Sequence[str], form: Form, arrays: Sequence[NDArray[Any]]) -> None:
        external = sum(array.nbytes for array in arrays) >= SMALLEST_EXTERNAL
        if external:
            self._file.write(b"\0" * (-self._file.tell() % PAGE))
        for name, array in zip(names, arrays, strict=True):
            small = array.nbytes < SMALLEST_EXTERNAL
            shadow = array if small else np.broadcast_to(np.zeros((), array.dtype), array.shape)
            self._pieces[name, form] = _Piece(self._file.tell(), shadow)
            if external:
                self._file.write(array.data)
