"""The weights of a checkpoint, read from the mapped files one at a time."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from export.checkpoint import read_json
from export.errors import CheckpointError, first_line

if TYPE_CHECKING:
    import torch
    from transformers import BlenderbotConfig

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
SHARED = "model.shared.weight"
EMBEDDINGS = (SHARED, "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
OUTPUT = "lm_head.weight"
TABLES = (SHARED, "model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
LOGITS_BIAS = "final_logits_bias"


def shapes_of(config: BlenderbotConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a model, the shared embedding once."""
    import torch
    from transformers import BlenderbotForConditionalGeneration

    with torch.device("meta"):
        model = BlenderbotForConditionalGeneration(config)
    state = model.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name not in EMBEDDINGS[1:]}


class Weights:
    """The tensors that a model takes from a checkpoint.

    Attributes:
        shapes: of each, by the name that transformers has for it.
        size: bytes of all in the checkpoint.
    """

    def __init__(self, folder: Path, config: BlenderbotConfig) -> None:
        """
        Raises:
            CheckpointError: a file is missing or damaged, or a tensor is missing, of another shape or of another type.
        """
        self.shapes = shapes_of(config)
        self._folder = folder
        self._mapped: set[int] = set()  # ids of tensors in mapped files
        self._tensors: dict[str, torch.Tensor] = {}
        stored: dict[str, torch.Tensor] = {}
        for file in _files(folder):
            stored |= self._open(file)
        for name, shape in self.shapes.items():
            self._tensors[name] = self._find(stored, name, shape, tied=config.tie_word_embeddings)
        self.size = sum(tensor.nbytes for tensor in self._tensors.values())

    def read(self, name: str) -> torch.Tensor:
        """A copy of one tensor, float32.

        Raises:
            CheckpointError: it holds values that are not finite.
        """
        import torch

        values = torch.empty(self.shapes[name])
        self.copy(name, values)
        if not all(map(math.isfinite, torch.aminmax(values))):
            raise CheckpointError(f"The weight {name} in {self._folder} holds values that are not finite.")
        return values

    def copy(self, name: str, target: torch.Tensor) -> None:
        """Copy one tensor into another, and give the pages of the file that it took back to the system."""
        target.copy_(self._tensors[name])
        if id(self._tensors[name]) in self._mapped:
            _give_back(self._tensors[name])

    def bytes_of(self, name: str) -> int:
        """Size of one tensor in the checkpoint."""
        return self._tensors[name].nbytes

    def fits_half_precision(self, name: str) -> bool:
        """Whether a tensor has no value that half precision lacks."""
        import torch

        if self._tensors[name].dtype == torch.float16:
            return True
        values = self.read(name)
        return bool((values.half().float() == values).all())

    def check_values(self) -> None:
        """Read all tensors.

        Raises:
            CheckpointError: one holds values that are not finite.
        """
        for name in self.shapes:
            self.read(name)

    def _open(self, file: Path) -> Mapping[str, torch.Tensor]:
        import torch
        from safetensors import safe_open

        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as content:
                    tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
                self._mapped |= set(map(id, tensors.values()))
                return tensors
            # Files from before torch 1.6 cannot be mapped.
            mapped = zipfile.is_zipfile(file)
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
            tensors = {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
            self._mapped |= set(map(id, tensors.values())) if mapped else set()
            return tensors
        except Exception as error:
            raise CheckpointError(
                f"The weights in {file} cannot be read ({first_line(error)}); download the checkpoint again."
            ) from error

    def _find(
        self, stored: Mapping[str, torch.Tensor], name: str, shape: tuple[int, ...], *, tied: bool
    ) -> torch.Tensor:
        import torch

        wanted = [name]
        if name == SHARED or (name == OUTPUT and tied):
            wanted = [*EMBEDDINGS, OUTPUT] if tied else [*EMBEDDINGS]
        # A checkpoint of the model without its output projection has names without the prefix.
        names = [*wanted, *(alias.removeprefix("model.") for alias in wanted)]
        found = next((stored[alias] for alias in names if alias in stored), None)
        if found is None and name == LOGITS_BIAS:
            return torch.zeros(shape)
        if found is None:
            raise CheckpointError(f"The weights in {self._folder} lack {name}; download the checkpoint again.")
        if tuple(found.shape) != shape:
            raise CheckpointError(
                f"The weights in {self._folder} hold {name} as {list(found.shape)}, where config.json "
                f"says {list(shape)}."
            )
        if found.dtype not in {torch.float16, torch.bfloat16, torch.float32, torch.float64}:
            raise CheckpointError(
                f"The weights in {self._folder} hold {name} as {str(found.dtype).removeprefix('torch.')}; export the "
                "checkpoint it was made from, in full or half precision."
            )
        return found


def _files(folder: Path) -> list[Path]:
    """The files that hold the weights, in the order in which transformers prefers them."""
    for single in SINGLE_FILES:
        if (folder / single).exists():
            return [folder / single]
        index = folder / f"{single}.index.json"
        if not index.exists():
            continue
        places = read_json(index).get("weight_map")
        names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise CheckpointError(f"{index} does not name files of its folder; download the checkpoint again.")
        missing = next((name for name in names if not (folder / name).is_file()), None)
        if missing is not None:
            raise CheckpointError(f"{folder} lacks {missing}, which {index.name} names; download the checkpoint again.")
        return [folder / name for name in names]
    raise CheckpointError(
        f"{folder} holds no weights (model.safetensors or pytorch_model.bin, or an index of several)."
    )


def _give_back(tensor: torch.Tensor) -> None:
    """Let go of the pages of a mapped file that a tensor took; they are read again when they are needed again."""
    if sys.platform == "linux" and tensor.is_contiguous():
        begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = tensor.data_ptr() + tensor.nbytes - begin
        if length > 0:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
