"""The weights of a checkpoint, read from the mapped files one at a time."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import BlenderbotConfig, BlenderbotForConditionalGeneration

from export.checkpoint import weight_files
from export.errors import CheckpointError, first_clause

SHARED = "model.shared.weight"
EMBEDDINGS = (SHARED, "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
OUTPUT = "lm_head.weight"
LOGITS_BIAS = "final_logits_bias"
FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
# All of a configuration that a reply depends on.
ARCHITECTURE = ["vocab_size", "d_model", "max_position_embeddings", "scale_embedding", "pad_token_id"]
ARCHITECTURE += [f"{end}_{size}" for end in ("encoder", "decoder") for size in ("layers", "attention_heads", "ffn_dim")]


def hollow_model(config: BlenderbotConfig) -> BlenderbotForConditionalGeneration:
    """The model of a configuration, with tensors that have shapes and no values; how it was trained is left out."""
    architecture = {name: getattr(config, name) for name in ARCHITECTURE}
    with torch.device("meta"):
        return BlenderbotForConditionalGeneration(BlenderbotConfig(**architecture))


def shapes_of(config: BlenderbotConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a model, the shared embedding once."""
    state = hollow_model(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name not in EMBEDDINGS[1:]}


class Weights:
    """The tensors that a model takes from a checkpoint, by the names that transformers has for them."""

    def __init__(self, folder: Path, config: BlenderbotConfig) -> None:
        """
        Raises:
            CheckpointError: a file is missing or damaged, or a tensor is missing, of another shape or of another type.
        """
        self._folder = folder
        self.shapes = shapes_of(config)
        files = weight_files(folder)
        # Files from before torch 1.6 cannot be mapped.
        mappable = all(file.suffix == ".safetensors" or zipfile.is_zipfile(file) for file in files)
        stored = {name: tensor for file in files for name, tensor in self._open(file, mappable).items()}
        self._tensors = {name: self._find(stored, name, tied=config.tie_word_embeddings) for name in self.shapes}
        self._mapped = set(map(id, stored.values())) if mappable else set()
        self.sizes = {name: tensor.nbytes for name, tensor in self._tensors.items()}

    def read(self, name: str) -> torch.Tensor:
        """A copy of one tensor, float32; the pages of the file that it took are given back to the system.

        Raises:
            CheckpointError: it holds values that are not finite.
        """
        stored = self._tensors[name]
        values = torch.empty(stored.shape).copy_(stored)
        if id(stored) in self._mapped:
            _give_back(stored)
        if not all(map(math.isfinite, torch.aminmax(values))):
            raise CheckpointError(f"The weight {name} in {self._folder} holds values that are not finite.")
        return values

    def _open(self, file: Path, mappable: bool) -> dict[str, torch.Tensor]:
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as content:
                    return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            pickled = torch.load(file, map_location="cpu", weights_only=True, mmap=mappable)
            return {name: tensor.detach() for name, tensor in pickled.items() if isinstance(tensor, torch.Tensor)}
        except Exception as error:
            reason = first_clause(error)
            raise CheckpointError(f"The weights in {file} cannot be read ({reason}); download them again.") from error

    def _find(self, stored: Mapping[str, torch.Tensor], name: str, *, tied: bool) -> torch.Tensor:
        same = (*EMBEDDINGS, OUTPUT) if tied else EMBEDDINGS
        wanted = same if name in same else (name,)
        # A checkpoint of the model without its output projection has names without the prefix.
        names = [*wanted, *(alias.removeprefix("model.") for alias in wanted)]
        shape = self.shapes[name]
        absent = torch.zeros(shape) if name == LOGITS_BIAS else None
        found = next((stored[alias] for alias in names if alias in stored), absent)
        if found is None:
            raise CheckpointError(f"The weights in {self._folder} lack {name}; write them with save_pretrained.")
        holding = f"The weights in {self._folder} hold {name} as"
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{holding} {list(found.shape)}, where config.json says {list(shape)}.")
        if found.dtype not in FLOATS or found.layout is not torch.strided or found.is_meta:
            kind = "no values" if found.is_meta else f"{found.dtype}, {found.layout}".replace("torch.", "")
            raise CheckpointError(f"{holding} {kind}; export the checkpoint of floats that it was made from.")
        return found


def _give_back(tensor: torch.Tensor) -> None:
    """Let go of the pages of a mapped file that a tensor took; they are read again when they are needed again."""
    if sys.platform == "linux" and tensor.is_contiguous():
        begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        if (length := (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - begin) > 0:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
