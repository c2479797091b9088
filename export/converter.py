"""Optimum's graphs of a model, traced without its matrices.

Nothing in the graphs depends on the values of the weights, so that small placeholders take their places: what the
tracer holds in memory does not grow with the model. Each placeholder has a value of its own, since equal ones would be
taken for one tensor.
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import onnx
import torch

from export.errors import CheckpointError, first_line
from export.quantizer import WeightScheme
from export.tensors import EMBEDDINGS, SHARED
from export.weights import Form, Graph, Stored
from models.folder import ENCODER, MERGED_DECODER

if TYPE_CHECKING:
    from transformers import BlenderbotConfig, BlenderbotForConditionalGeneration

TASK = "text2text-generation-with-past"
MERGED = re.compile(r"_merged_\d+$")
FLOAT = 1


class _Product(torch.autograd.Function):
    """A product with a matrix that is not there: zeros when it runs, the final node when it is traced."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, *sizes: int) -> torch.Tensor:
        return x.new_zeros(*x.shape[:-1], sizes[1])

    @staticmethod
    def symbolic(
        g: Any, x: Any, weight: Any, scales: Any, columns: int, rows: int, bits: int, block_size: int, level: int
    ) -> Any:
        kind = x.type().with_sizes([*x.type().varyingSizes()[:-1], rows])
        if not bits:
            return g.op("MatMul", x, weight).setType(kind)
        attributes = {"K_i": columns, "N_i": rows, "bits_i": bits, "block_size_i": block_size}
        product = g.op("com.microsoft::MatMulNBits", x, weight, scales, **attributes, accuracy_level_i=level)
        return product.setType(kind)


class _Lookup(torch.autograd.Function):
    """Rows of a table that is not there."""

    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, table: torch.Tensor, width: int, halved: bool) -> torch.Tensor:
        return torch.zeros(*ids.shape, width)

    @staticmethod
    def symbolic(g: Any, ids: Any, table: Any, width: int, halved: bool) -> Any:
        rows = g.op("Gather", table, ids)
        return g.op("Cast", rows, to_i=FLOAT) if halved else rows


class _Linear(torch.nn.Module):
    """A linear layer with placeholders for its matrix and its scales."""

    def __init__(self, layer: torch.nn.Linear, scheme: WeightScheme, bits: int | None, marks: Iterator[int]) -> None:
        super().__init__()
        self._sizes = (layer.in_features, layer.out_features, bits or 0, scheme.block_size, scheme.accuracy_level)
        self.packed = f"weight_Q{bits}" if bits else "weight"
        self.register_parameter(self.packed, _placeholder((1, 1), marks))
        self.weight_scales = _placeholder((1, 1), marks)
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = getattr(self, self.packed)
        product: torch.Tensor = _Product.apply(x, weight, self.weight_scales, *self._sizes)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


def convert(config: BlenderbotConfig, scheme: WeightScheme, halved: Collection[str], work: Path) -> dict[str, Graph]:
    """Trace encoder and decoder, and join the two branches of the decoder.

    Args:
        config: of the model.
        scheme: how its matrices are stored.
        halved: tables that are stored in half precision.
        work: folder for files on the way.

    Returns:
        The graphs that the stock class loads, by file name.

    Raises:
        CheckpointError: the tracer cannot make graphs of this model.
    """
    from transformers import BlenderbotForConditionalGeneration

    with torch.device("meta"):
        model = BlenderbotForConditionalGeneration(config)
    stored = _hollow_out(model, scheme, halved)
    try:
        lookup = functools.partial(_lookup, config.d_model)
        with warnings.catch_warnings(), patch("torch.nn.functional.embedding", lookup):
            warnings.simplefilter("ignore")
            return {name: _graph(content, config, stored) for name, content in _trace(model, work).items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"This model cannot be converted ({first_line(error)}).") from error


def _trace(model: BlenderbotForConditionalGeneration, work: Path) -> dict[str, onnx.ModelProto]:
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    from optimum.exporters.utils import get_encoder_decoder_models_for_export
    from optimum.onnx import merge_decoders

    constructor = TasksManager.get_exporter_config_constructor("onnx", model=model, task=TASK)
    for name, (part, config) in get_encoder_decoder_models_for_export(model, constructor(model.config)).items():
        # It runs the graph for output sizes that the tracer knows already.
        config.fix_dynamic_axes = lambda *_, **__: None
        export(part, config, work / f"{name}.onnx", opset=config.DEFAULT_ONNX_OPSET, do_constant_folding=False)
    branches = (work / "decoder_model.onnx", work / "decoder_with_past_model.onnx")
    merged = merge_decoders(*branches, strict=False, save_path=work / MERGED_DECODER)
    return {ENCODER: onnx.load(work / ENCODER), MERGED_DECODER: merged}


def _hollow_out(
    model: BlenderbotForConditionalGeneration, scheme: WeightScheme, halved: Collection[str]
) -> dict[str, Stored]:
    """Put placeholders into a model that has no weights; returns what they stand for, by their names in the model."""
    stored: dict[str, Stored] = {}
    marks = itertools.count(1)
    modules = list(model.named_modules())
    for name, module in modules:
        if isinstance(module, torch.nn.Embedding):  # first, since half precision tells small numbers apart only
            kind = torch.float16 if f"{name}.weight" in halved else torch.float32
            module.weight = _placeholder((1, 1), marks, kind)
    for name, module in modules:
        if isinstance(module, torch.nn.Linear):
            weight = f"{name}.weight"
            bits = scheme.bits_of(weight)
            hollow = _Linear(module, scheme, bits, marks)
            model.set_submodule(name, hollow)
            stored[f"{name}.{hollow.packed}"] = Stored((weight,), Form.PACKED if bits else Form.TRANSPOSED)
            stored[f"{name}.weight_scales"] = Stored((weight,), Form.SCALES)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name not in stored:
            stored[name] = Stored((name,), Form.HALF if name in halved else Form.PLAIN)
        if tensor.is_meta:
            owner, _, last = name.rpartition(".")
            value = _placeholder(tensor.shape, marks)
            setattr(model.get_submodule(owner), last, value if isinstance(tensor, torch.nn.Parameter) else value.data)
    return stored | dict.fromkeys(EMBEDDINGS, stored[SHARED])


def _graph(model: onnx.ModelProto, config: BlenderbotConfig, stored: Mapping[str, Stored]) -> Graph:
    """Say what the initialisers of a traced graph hold, whose names the tracer and the merge have changed."""
    heads = config.decoder_attention_heads
    for output in model.graph.output:
        if ".decoder." in output.name:  # which the tracer cannot know behind MatMulNBits
            sizes = output.type.tensor_type.shape.dim
            sizes[1].dim_value, sizes[3].dim_value = heads, config.d_model // heads
    known = {}
    for tensor in model.graph.initializer:
        name = MERGED.sub("", tensor.name)
        found = stored.get(name) or stored.get(f"model.encoder.{name}")
        if found is not None:
            known[tensor.name] = found
        elif tensor.data_type in {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16} and tensor.dims:
            raise ValueError(f"its graph holds {tensor.name}, which no checkpoint has")
    return Graph(model, known)


def _lookup(width: int, ids: torch.Tensor, table: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    rows: torch.Tensor = _Lookup.apply(ids, table, width, table.dtype == torch.float16)  # type: ignore[no-untyped-call]
    return rows


def _placeholder(shape: Sequence[int], marks: Iterator[int], kind: torch.dtype = torch.float32) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.full(tuple(shape), float(next(marks)), dtype=kind), requires_grad=False)
