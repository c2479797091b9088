"""Optimum's graphs of a model, traced without its weights.

In place of each weight the model has its name. What is computed with weights becomes one node of a domain of our own
that holds those names, and once the graphs are whole, `GraphBuilder` writes the nodes that take its place. So what the
tracer holds in memory does not grow with the model, and weights are known by their names from beginning to end.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
import torch
from optimum.exporters.onnx import export
from optimum.exporters.tasks import TasksManager
from optimum.exporters.utils import get_encoder_decoder_models_for_export
from optimum.onnx import merge_decoders
from torch import nn
from transformers import BlenderbotConfig

from export.errors import CheckpointError, first_clause
from export.graph_builder import FUSED, GraphBuilder
from export.tensors import EMBEDDINGS, LOGITS_BIAS, SHARED, hollow_model
from models.folder import ENCODER, MERGED_DECODER

DOMAIN = "weights"


class _Name(str):
    """The name of a tensor, where a layer would have the tensor."""

    device = torch.device("cpu")


class _Layer(torch.autograd.Function):
    """What a layer makes of its input: zeros when it runs; when it is traced, one node with the names of its weights,
    called as the method of `GraphBuilder` that writes the layer."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kind: str, width: int, *names: str | None) -> torch.Tensor:
        return torch.zeros(*(x.shape if kind == "lookup" else x.shape[:-1]), width)

    @staticmethod
    def symbolic(g: Any, x: Any, kind: str, width: int, *names: str | None) -> Any:
        sizes = x.type().varyingSizes()
        result = x.type().with_dtype(torch.float32).with_sizes([*(sizes if kind == "lookup" else sizes[:-1]), width])
        return g.op(f"{DOMAIN}::{kind}", x, names_s=[name for name in names if name]).setType(result)


def trace(config: BlenderbotConfig, work: Path) -> dict[str, onnx.ModelProto]:
    """Trace encoder and decoder, and join the two branches of the decoder; `work` is for files on the way.

    Returns:
        The graphs that the stock class loads, by file name, with names in place of weights.

    Raises:
        CheckpointError: the tracer cannot make graphs of this model.
    """
    model = hollow_model(config)
    for name, _ in list(model.named_parameters(remove_duplicate=False)):
        layer, _, part = name.rpartition(".")
        module = model.get_submodule(layer)
        delattr(module, part)
        setattr(module, part, _Name(SHARED if name in EMBEDDINGS else name))
    del model.lm_head.bias, model.final_logits_bias
    model.lm_head.bias, model.final_logits_bias = LOGITS_BIAS, 0  # added where others have their bias
    node: Any = _Layer.apply
    task = {"task": "text2text-generation-with-past", "library_name": "transformers"}
    onnx_config = TasksManager.get_exporter_config_constructor("onnx", model, **task)(model.config)
    branches = (work / "decoder_model.onnx", work / "decoder_with_past_model.onnx")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            patch.object(nn.Embedding, "forward", lambda m, x: node(x, "lookup", m.embedding_dim, m.weight)),
            patch.object(nn.LayerNorm, "forward", lambda m, x: node(x, "norm", config.d_model, m.weight, m.bias)),
            patch.object(nn.Linear, "forward", lambda m, x: node(x, "linear", m.out_features, m.weight, m.bias)),
        ):
            for name, (part, part_config) in get_encoder_decoder_models_for_export(model, onnx_config).items():
                # The fix of dynamic axes runs the graph for output sizes that the tracer knows already.
                settings = {"opset": part_config.DEFAULT_ONNX_OPSET, "disable_dynamic_axes_fix": True}
                export(part, part_config, work / f"{name}.onnx", do_constant_folding=False, **settings)
            merged = merge_decoders(*branches, strict=False, save_path=work / MERGED_DECODER)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"This model cannot be converted ({first_clause(error)}).") from error
    return {ENCODER: onnx.load(work / ENCODER), MERGED_DECODER: merged}


def add_weights(model: onnx.ModelProto, builder: GraphBuilder) -> onnx.ModelProto:
    """Exchange the nodes with names in a traced graph for those that `GraphBuilder` writes."""
    branches = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    for graph in (*branches, model.graph):
        for node in graph.node:
            if node.domain == DOMAIN:
                names = (name.decode() for name in node.attribute[0].strings)
                getattr(builder, node.op_type)(node.input[0], node.output[0], *names)
            else:
                builder.nodes.append(node)
        written = onnx.GraphProto(node=builder.nodes)
        builder.nodes.clear()
        del graph.node[:]
        graph.node.extend(written.node)
    model.graph.initializer.extend(builder.initializers.values())
    next(entry for entry in model.opset_import if entry.domain == DOMAIN).domain = FUSED
    return model
