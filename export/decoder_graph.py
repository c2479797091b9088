"""The fused graphs of Blenderbot: cross-attention keys and values once a request, then one step for all rows.

A row is one hypothesis of one request. Rows of different ages, source lengths and beam widths share a step:

- Attention runs on a grid of requests by beams, so that beams share the keys and values of their request. `grid_rows`
  lays the rows out on the grid and `row_cells` brings them back.
- Self-attention keeps keys and values in preallocated buffers. Each row writes a slot of its request in a step, and
  `self_bias` leaves out the slots of other lines: what hypotheses share stands there once, a beam switch moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto
from transformers import BlenderbotConfig

from export.graph_builder import FUSED, LAYER_NORM_EPSILON, GraphBuilder
from export.tensors import LOGITS_BIAS, OUTPUT, SHARED


def cross_states_graph(config: BlenderbotConfig, graph: GraphBuilder) -> ModelProto:
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
        for name, kind in zip(graph.linears(states, names), ("key", "value"), strict=True):
            output = f"cross_{kind}.{layer}"
            graph.node("Reshape", [name, split], f"{name}.heads")
            graph.node("Transpose", [f"{name}.heads"], output, perm=[0, 2, 1, 3])
            graph.output(output, np.float32, ["request", heads, "source", head_dim])
    return graph.build("cross_states")


def decoder_step_graph(config: BlenderbotConfig, graph: GraphBuilder) -> ModelProto:
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

    def linear(x: str, layer: str, bias: str = "") -> str:
        return graph.linear(x, layer, f"{layer}.weight", bias)

    def added(x: str, layer: str, hidden: str, norm: str) -> tuple[str, str]:
        """Add what a layer makes of x to the residual stream and normalise: the normalised and the plain sum."""
        outputs = [f"{norm}.normalized", "", "", f"{norm}.residual"]
        weights = [graph.weight(name) for name in (f"{norm}.weight", f"{norm}.bias", f"{layer}.bias")]
        inputs = [linear(x, layer), hidden, *weights]
        graph.node("SkipLayerNormalization", inputs, outputs, domain=FUSED, epsilon=LAYER_NORM_EPSILON)
        return outputs[0], outputs[3]

    def attention(query: str, states: Sequence[str], name: str, *, mask: str = "", bias: str = "") -> str:
        """Attention of the rows, on the grid, over the states (keys and values) of their requests."""
        graph.node("Gather", [query, grid_rows], f"{name}.cells", axis=0)
        grid = graph.node("Squeeze", [f"{name}.cells", cell_axis], f"{name}.grid")
        settings = {"domain": FUSED, "num_heads": heads, "scale": float(head_dim**-0.5)}
        graph.node("MultiHeadAttention", [grid, *states, "", mask, bias], f"{name}.grid_attended", **settings)
        graph.node("Reshape", [f"{name}.grid_attended", to_rows], f"{name}.cells_attended")
        return graph.node("Gather", [f"{name}.cells_attended", row_cells], name, axis=0)

    scale = np.array(np.sqrt(width) if config.scale_embedding else 1.0, np.float32)
    embedded = graph.lookup(ids, "embedded", SHARED)
    graph.node("Mul", [embedded, graph.constant("embedding_scale", scale)], "scaled")
    positioned = graph.lookup(positions, "positioned", "model.decoder.embed_positions.weight")
    hidden = graph.node("Add", ["scaled", positioned], "hidden")
    norms = [f"model.decoder.layers.{layer}.self_attn_layer_norm" for layer in range(config.decoder_layers)]
    norms.append("model.decoder.layer_norm")
    normalized = graph.norm(hidden, "normalized", f"{norms[0]}.weight", f"{norms[0]}.bias")
    for layer, following in enumerate(norms[1:]):
        prefix = f"model.decoder.layers.{layer}"
        name = f"{prefix}.self_attn"
        query, *projected = graph.linears(normalized, [f"{name}.{kind}_proj" for kind in "qkv"])
        present = []
        for state, kind in zip(projected, ("key", "value"), strict=True):
            past = graph.input(f"past_{kind}.{layer}", np.float32, ["request", heads, "slots", head_dim])
            graph.node("Reshape", [state, split_heads], f"{state}.heads")
            present.append(graph.node("ScatterND", [past, places, f"{state}.heads"], f"present_{kind}.{layer}"))
            graph.output(present[-1], np.float32, ["request", heads, "slots", head_dim])
        attended = attention(query, present, name, bias=self_bias)
        normalized, hidden = added(attended, f"{name}.out_proj", hidden, f"{prefix}.encoder_attn_layer_norm")

        name = f"{prefix}.encoder_attn"
        query = linear(normalized, f"{name}.q_proj", f"{name}.q_proj.bias")
        shape = ["request", heads, "source", head_dim]
        cross = [graph.input(f"cross_{kind}.{layer}", np.float32, shape) for kind in ("key", "value")]
        attended = attention(query, cross, name, mask=source_mask)
        normalized, hidden = added(attended, f"{name}.out_proj", hidden, f"{prefix}.final_layer_norm")

        inputs = [linear(normalized, f"{prefix}.fc1"), graph.weight(f"{prefix}.fc1.bias")]
        activated = graph.node("BiasGelu", inputs, f"{prefix}.activated", domain=FUSED)
        normalized, hidden = added(activated, f"{prefix}.fc2", hidden, following)
    logits = graph.linear(normalized, "logits", OUTPUT, LOGITS_BIAS)
    graph.node("LogSoftmax", [logits], "log_probabilities", axis=-1)
    for name in ("logits", "log_probabilities"):
        graph.output(name, np.float32, ["row", 1, config.vocab_size])
    return graph.build("decoder_step")
