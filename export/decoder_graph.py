"""The fused graphs of Blenderbot: cross-attention keys and values once a request, then one step for all rows.

A row is one hypothesis of one request. Rows of different ages, source lengths and beam widths share a step:

- Attention runs on a grid of requests by beams, so that beams share the keys and values of their request. `grid_rows`
  lays the rows out on the grid and `row_cells` brings them back.
- Self-attention keeps keys and values in preallocated buffers [request, head, slot, channel]. Each row writes a slot of
  its request in a step, and `self_bias` leaves out the slots that are not of its own line: what hypotheses share
  stands there once, and a beam switch moves no key or value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from export.graph_builder import GraphBuilder
from export.quantizer import OUTPUT_PROJECTION
from export.tensors import LOGITS_BIAS, SHARED
from export.weights import Graph

if TYPE_CHECKING:
    from transformers import BlenderbotConfig

LAYER_NORM_EPSILON = 1e-5


def cross_states_graph(config: BlenderbotConfig, graph: GraphBuilder) -> Graph:
    """Encoder output to the keys and values of every cross-attention.

    Inputs: last_hidden_state float32 [request, source, d_model].
    Outputs: cross_key.L and cross_value.L float32 [request, heads, source, head_dim] for each decoder layer L.
    """
    heads = config.decoder_attention_heads
    head_dim = config.d_model // heads
    states = graph.input("last_hidden_state", np.float32, ["request", "source", config.d_model])
    split = graph.constant("split_heads", np.array([0, 0, heads, head_dim], np.int64))
    for layer in range(config.decoder_layers):
        prefix = f"model.decoder.layers.{layer}.encoder_attn"
        names = [f"{prefix}.k_proj", f"{prefix}.v_proj"]
        for name, kind in zip(graph.linear_group(states, names), ("key", "value"), strict=True):
            output = f"cross_{kind}.{layer}"
            graph.node("Reshape", [name, split], f"{name}.heads")
            graph.node("Transpose", [f"{name}.heads"], output, perm=[0, 2, 1, 3])
            graph.output(output, np.float32, ["request", heads, "source", head_dim])
    return graph.build("cross_states")


def decoder_step_graph(config: BlenderbotConfig, graph: GraphBuilder) -> Graph:
    """One token for every row.

    Inputs:
        input_ids int64 [row, 1], position_ids int64 [row, 1]: last token of each row and its place in the reply.
        grid_rows int64 [request, beam], row_cells int64 [row].
        past_key.L, past_value.L float32 [request, heads, slots, head_dim]: the buffers, updated in place when bound to
        present_key.L and present_value.L.
        places int64 [row, heads, 3]: request, head and slot that each row writes.
        self_bias float32 [request, 1, beam, slots]: 0 for the slots that a row reads, the one it writes included, and a
        large negative number for the others.
        cross_key.L, cross_value.L float32 [request, heads, source, head_dim].
        source_mask int32 [request, source]: 1 for the tokens of the source.
    Outputs: logits and log_probabilities float32 [row, 1, vocabulary]; present_key.L, present_value.L.
    """
    width, heads = config.d_model, config.decoder_attention_heads
    head_dim = width // heads
    ids = graph.input("input_ids", np.int64, ["row", 1])
    positions = graph.input("position_ids", np.int64, ["row", 1])
    grid_rows = graph.input("grid_rows", np.int64, ["request", "beam"])
    row_cells = graph.input("row_cells", np.int64, ["row"])
    places = graph.input("places", np.int64, ["row", heads, 3])
    self_bias = graph.input("self_bias", np.float32, ["request", 1, "beam", "slots"])
    source_mask = graph.input("source_mask", np.int32, ["request", "source"])
    cell_axis = graph.constant("cell_axis", np.array([2], np.int64))
    to_rows = graph.constant("to_rows", np.array([-1, 1, width], np.int64))
    split_heads = graph.constant("split_heads", np.array([0, heads, head_dim], np.int64))

    def norm(name: str) -> list[str]:
        return [graph.weight(f"{name}.{part}") for part in ("weight", "bias")]

    def residual_norm(update: str, hidden: str, bias: str, layer_norm: str) -> tuple[str, str]:
        """Add an update and its bias to the residual stream and normalise: the normalised and the plain sum."""
        outputs = [f"{layer_norm}.normalized", "", "", f"{layer_norm}.residual"]
        scale, shift = norm(layer_norm)
        graph.fused(
            "SkipLayerNormalization",
            [update, hidden, scale, shift, graph.weight(bias)],
            outputs,
            epsilon=LAYER_NORM_EPSILON,
        )
        return outputs[0], outputs[3]

    def attention(query: str, states: Sequence[str], name: str, *, mask: str = "", bias: str = "") -> str:
        """Attention of the rows, on the grid, over the states (keys and values) of their requests."""
        graph.node("Gather", [query, grid_rows], f"{name}.cells", axis=0)
        graph.node("Squeeze", [f"{name}.cells", cell_axis], f"{name}.grid")
        inputs = [f"{name}.grid", *states, "", mask, bias]
        graph.fused("MultiHeadAttention", inputs, f"{name}.grid_attended", num_heads=heads, scale=float(head_dim**-0.5))
        graph.node("Reshape", [f"{name}.grid_attended", to_rows], f"{name}.cells_attended")
        return graph.node("Gather", [f"{name}.cells_attended", row_cells], name, axis=0)

    scale = np.array(np.sqrt(width) if config.scale_embedding else 1.0, np.float32)
    embedded = graph.lookup(SHARED, ids, "shared.weight", "embedded")
    graph.node("Mul", [embedded, graph.constant("embedding_scale", scale)], "scaled")
    positioned = graph.lookup("model.decoder.embed_positions.weight", positions, "positions.weight", "positioned")
    hidden = graph.node("Add", ["scaled", positioned], "hidden")
    first_norm = "model.decoder.layers.0.self_attn_layer_norm"
    normalized = graph.node(
        "LayerNormalization", [hidden, *norm(first_norm)], "normalized", axis=-1, epsilon=LAYER_NORM_EPSILON
    )
    for layer in range(config.decoder_layers):
        prefix = f"model.decoder.layers.{layer}"
        names = [f"{prefix}.self_attn.{kind}_proj" for kind in "qkv"]
        query, *projected = graph.linear_group(normalized, names)
        present = []
        for name, kind in zip(projected, ("key", "value"), strict=True):
            past = graph.input(f"past_{kind}.{layer}", np.float32, ["request", heads, "slots", head_dim])
            graph.node("Reshape", [name, split_heads], f"{name}.heads")
            present.append(graph.node("ScatterND", [past, places, f"{name}.heads"], f"present_{kind}.{layer}"))
            graph.output(present[-1], np.float32, ["request", heads, "slots", head_dim])
        attended = attention(query, present, f"{prefix}.self_attn", bias=self_bias)
        update = graph.linear(attended, f"{prefix}.self_attn.out_proj", f"{prefix}.self_attn.out_proj")
        normalized, hidden = residual_norm(
            update, hidden, f"{prefix}.self_attn.out_proj.bias", f"{prefix}.encoder_attn_layer_norm"
        )

        name = f"{prefix}.encoder_attn"
        query = graph.linear(normalized, f"{name}.q_proj", f"{name}.q_proj", bias=f"{name}.q_proj.bias")
        cross = [
            graph.input(f"cross_{kind}.{layer}", np.float32, ["request", heads, "source", head_dim])
            for kind in ("key", "value")
        ]
        attended = attention(query, cross, name, mask=source_mask)
        update = graph.linear(attended, f"{name}.out_proj", f"{name}.out_proj")
        normalized, hidden = residual_norm(update, hidden, f"{name}.out_proj.bias", f"{prefix}.final_layer_norm")

        inner = graph.linear(normalized, f"{prefix}.fc1", f"{prefix}.fc1")
        activated = graph.fused("BiasGelu", [inner, graph.weight(f"{prefix}.fc1.bias")], f"{prefix}.activated")
        update = graph.linear(activated, f"{prefix}.fc2", f"{prefix}.fc2")
        last = layer + 1 == config.decoder_layers
        following = "model.decoder.layer_norm" if last else f"model.decoder.layers.{layer + 1}.self_attn_layer_norm"
        normalized, hidden = residual_norm(update, hidden, f"{prefix}.fc2.bias", following)

    logits = graph.linear(normalized, OUTPUT_PROJECTION, "logits", bias=LOGITS_BIAS)
    graph.node("LogSoftmax", [logits], "log_probabilities", axis=-1)
    for name in ("logits", "log_probabilities"):
        graph.output(name, np.float32, ["row", 1, config.vocab_size])
    return graph.build("decoder_step")
