"""Checkpoint to fp32 ONNX, done by Optimum."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import torch
    from transformers import BlenderbotForConditionalGeneration

ENCODER = "encoder_model.onnx"
DECODER = "decoder_model.onnx"
DECODER_WITH_PAST = "decoder_with_past_model.onnx"
MERGED_DECODER = "decoder_model_merged.onnx"
TASK = "text2text-generation-with-past"


def convert(model: BlenderbotForConditionalGeneration, folder: Path) -> None:
    """Write encoder, first-step decoder and later-step decoder as three fp32 ONNX files into `folder`.

    One graph after the other, with the memory of each given back before the next. The model cannot be used any more.
    """
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    from optimum.exporters.utils import get_encoder_decoder_models_for_export

    constructor = TasksManager.get_exporter_config_constructor("onnx", model=model, task=TASK)
    parts = get_encoder_decoder_models_for_export(model, constructor(model.config))
    _transpose_weights(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (part, config) in parts.items():
            # It runs the graph, with its weights three times in memory, for output sizes that the tracer knows already.
            config.fix_dynamic_axes = lambda *_, **__: None
            export(part, config, folder / f"{name}.onnx", opset=config.DEFAULT_ONNX_OPSET, do_constant_folding=False)
            release_memory()


def _transpose_weights(model: BlenderbotForConditionalGeneration) -> None:
    """Keep the matrices of linear layers as ONNX does, [in, out].

    The exporter of torch would otherwise write a node that transposes each when the graph runs, or, when it is told to
    fold those nodes, hold two copies of all weights.
    """
    import torch

    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight = torch.nn.Parameter(layer.weight.detach().t().contiguous(), requires_grad=False)
            layer.forward = functools.partial(_linear, layer)  # type: ignore[method-assign]


def _linear(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    import torch

    product = torch.matmul(x, layer.weight)
    return product if layer.bias is None else product + layer.bias


def merge(folder: Path) -> onnx.ModelProto:
    """Join the two decoders of `folder` into one graph with a `use_cache_branch` switch that shares every weight."""
    from optimum.onnx import merge_decoders

    merged: onnx.ModelProto = merge_decoders(
        folder / DECODER, folder / DECODER_WITH_PAST, strict=False, save_path=folder / MERGED_DECODER
    )
    return merged


def release_memory() -> None:
    """Give memory that is no longer used back to the system, where the C library can."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
