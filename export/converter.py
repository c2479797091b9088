"""Checkpoint to fp32 ONNX, done by Optimum."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from transformers import BlenderbotForConditionalGeneration

ENCODER = "encoder_model.onnx"
DECODER = "decoder_model.onnx"
DECODER_WITH_PAST = "decoder_with_past_model.onnx"
MERGED_DECODER = "decoder_model_merged.onnx"
TASK = "text2text-generation-with-past"


def convert(model: BlenderbotForConditionalGeneration, folder: Path) -> None:
    """Write encoder, first-step decoder and later-step decoder as three fp32 ONNX files into `folder`.

    One graph after the other, with the memory of each given back before the next.
    """
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    from optimum.exporters.utils import get_encoder_decoder_models_for_export

    constructor = TasksManager.get_exporter_config_constructor("onnx", model=model, task=TASK)
    parts = get_encoder_decoder_models_for_export(model, constructor(model.config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (part, config) in parts.items():
            path = folder / f"{name}.onnx"
            export(part, config, path, opset=config.DEFAULT_ONNX_OPSET, do_constant_folding=False)
            release_memory()
            fold_weights(path)
            release_memory()


def fold_weights(path: Path) -> None:
    """Replace weights that the graph transposes or copies when it runs by weights that are stored that way, in place.

    The exporter of torch can do it too, at the price of a second copy of all weights in memory.
    """
    import numpy as np
    import onnx

    model = onnx.load(path)
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    alias: dict[str, str] = {}
    kept = []
    for node in graph.node:
        inputs = [alias.get(name, name) for name in node.input]
        source = tensors.get(inputs[0]) if inputs else None
        if node.op_type == "Identity" and source is not None:
            alias[node.output[0]] = source.name
        elif node.op_type == "Transpose" and source is not None and len(source.dims) == 2:
            array = np.ascontiguousarray(onnx.numpy_helper.to_array(source).T)
            tensors[node.output[0]] = onnx.numpy_helper.from_array(array, node.output[0])
        else:
            node.input[:] = inputs
            kept.append(node)
    used = {name for node in kept for name in node.input} | {output.name for output in graph.output}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    for name in list(tensors):
        if name in used:
            graph.initializer.append(tensors[name])
        del tensors[name]
    onnx.save(model, path)


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
