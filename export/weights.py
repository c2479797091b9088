"""One file for the weights of all graphs of a folder, each tensor of the checkpoint once in each form.

Tensors begin at page boundaries, so that ONNX Runtime maps the file instead of reading it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.external_data_helper import set_external_data
from onnx.helper import np_dtype_to_tensor_dtype
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

from export.progress import Advance
from export.quantizer import WeightScheme
from export.tensors import Weights
from models.folder import WEIGHTS

PAGE = 4096


class Form(StrEnum):
    """How a tensor of the checkpoint is stored."""

    PACKED = "packed"  # quantised matrix, uint8 [N, K / block_size, block_size * bits / 8]
    SCALES = "scales"  # of a quantised matrix, float32 [N, K / block_size]
    TRANSPOSED = "transposed"  # matrix as MatMul takes it, float32 [K, N]
    VECTOR = "vector"  # float32 [elements]
    TABLE = "table"  # as it is, float16 where that loses nothing, else float32


class WeightFile:
    """Fills `weights.bin` and gives out initialisers that refer to it."""

    def __init__(self, file: IO[bytes], weights: Weights, scheme: WeightScheme, advance: Advance) -> None:
        """`advance` is told about bytes of the checkpoint that are done."""
        self.shapes, self.scheme = weights.shapes, scheme
        self._file, self._weights, self._advance = file, weights, advance
        # Offset, shape and type of what is in the file.
        self._places: dict[tuple[str, Form], tuple[int, tuple[int, ...], np.dtype[Any]]] = {}

    def initializer(self, tensors: Sequence[str], form: Form) -> TensorProto:
        """An initialiser that holds tensors of the checkpoint end to end.

        What stands end to end with others has to be asked for before it is asked for by itself.
        """
        if (tensors[0], form) not in self._places:
            self._write(tensors, form)
        places = [self._places[name, form] for name in tensors]
        offset, shape, dtype = places[0]
        initializer = TensorProto(
            name=f"{tensors[0]}{'.joined' if len(tensors) > 1 else ''}.{form}",
            dims=[sum(rows for _, (rows, *_), _ in places), *shape[1:]],
            data_type=np_dtype_to_tensor_dtype(dtype),
            raw_data=b"",
        )
        length = math.prod(initializer.dims) * dtype.itemsize
        set_external_data(initializer, WEIGHTS, offset=offset, length=length)
        initializer.ClearField("raw_data")
        return initializer

    def _write(self, tensors: Sequence[str], form: Form) -> None:
        arrays = [self._weights.read(name).numpy() for name in tensors]
        match form:
            case Form.PACKED | Form.SCALES:
                bits, block_size = self.scheme.bits_of(tensors[0]), self.scheme.block_size
                config = DefaultWeightOnlyQuantConfig(block_size, is_symmetric=True, bits=bits)
                quantize = DefaultWeightOnlyQuantizer(config).qbits_block_quant
                quantised = [quantize(np.ascontiguousarray(array.T)) for array in arrays]
                self._append(tensors, Form.PACKED, [packed for packed, *_ in quantised])
                self._append(tensors, Form.SCALES, [scales for _, scales, _ in quantised])
            case Form.TRANSPOSED:
                self._append(tensors, form, [np.ascontiguousarray(array.T) for array in arrays])
            case Form.VECTOR:
                self._append(tensors, form, [array.ravel() for array in arrays])
            case Form.TABLE:
                halves = [array.astype(np.float16) for array in arrays]
                lossless = all(map(np.array_equal, halves, arrays))
                self._append(tensors, form, halves if lossless else arrays)
        self._advance(sum(self._weights.sizes[name] for name in tensors))

    def _append(self, tensors: Sequence[str], form: Form, arrays: Sequence[NDArray[Any]]) -> None:
        self._file.write(b"\0" * (-self._file.tell() % PAGE))
        for name, array in zip(tensors, arrays, strict=True):
            self._places[name, form] = (self._file.tell(), array.shape, array.dtype)
            self._file.write(array.data)
