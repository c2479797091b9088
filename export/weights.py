"""One file for the weights of all graphs of a folder, each distinct tensor once.

Encoder and decoder share the token embedding, and the two branches of the decoder share everything. Tensors begin at
page boundaries, so that ONNX Runtime maps the file instead of reading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

FILE_NAME = "weights.bin"
PAGE = 4096
SMALLEST_EXTERNAL = 1024


class WeightFile:
    """Writes `weights.bin` and graphs that refer to it, into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / FILE_NAME).open("xb")
        self._offsets: dict[bytes, int] = {}

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def save(self, model: onnx.ModelProto, name: str, joined: Mapping[str, Sequence[int]] | None = None) -> None:
        """Write a graph as `name`, its initialisers of `SMALLEST_EXTERNAL` bytes or more in the weight file.

        Args:
            model: the graph; its tensors are emptied.
            name: file name.
            joined: initialisers made by stacking matrices, with the rows of each. Graphs that are saved later and hold
                a part by itself find it inside the stacked one.
        """
        import onnx
        from onnx.external_data_helper import set_external_data

        for tensor in _initializers(model.graph):
            data = onnx.numpy_helper.to_array(tensor).tobytes()
            if len(data) < SMALLEST_EXTERNAL:
                continue
            offset = self._store(data, (joined or {}).get(tensor.name, ()))
            tensor.raw_data = b""
            set_external_data(tensor, FILE_NAME, offset=offset, length=len(data))
            for typed_field in ("float_data", "int32_data", "int64_data", "raw_data"):
                tensor.ClearField(typed_field)
        onnx.save_model(model, self._folder / name)

    def _store(self, data: bytes, parts: Sequence[int]) -> int:
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self._file.write(b"\0" * (-self._file.tell() % PAGE))
            offset = self._offsets[digest] = self._file.tell()
            self._file.write(data)
            row = len(data) // max(1, sum(parts))
            end = 0
            for rows in parts:
                begin, end = end, end + rows * row
                self._offsets.setdefault(hashlib.sha256(data[begin:end]).digest(), offset + begin)
        return self._offsets[digest]


def _initializers(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Initialisers of a graph and of the branches in it."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            for branch in [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs:
                found += _initializers(branch)
    return found
