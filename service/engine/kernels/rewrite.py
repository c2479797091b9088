"""Exchanges the nodes of an exported graph for the operators of the kernel library.

| what stands in the graph                                        | what takes its place                       |
| --------------------------------------------------------------- | ------------------------------------------ |
| MatMulNBits, or MatMul by a constant                             | Linear                                     |
| an Add of a constant, or BiasGelu, behind one                    | its bias, its bias and GELU                |
| LayerNormalization before some                                   | their norm                                 |
| SkipLayerNormalization between some                              | bias and residual of one, norm of the next |
| MultiHeadAttention over the cache, with the writing of the cache | SelfAttention                              |
| MultiHeadAttention over the source                               | CrossAttention                             |
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from service.engine.kernels.graph import Graph, Node

if TYPE_CHECKING:
    from onnx import ModelProto

DOMAIN = "chatbot"
X, WEIGHT, SCALES, BIAS, NORM_SCALE, NORM_SHIFT, RESIDUAL = range(7)
FLOAT_BITS = 32
# The input of the decoder step that says which request each row belongs to.
PLACES = "places"


def rewritten(path: Path, kernels: str, weights: str) -> bytes:
    """The graph of an ONNX file with its nodes exchanged.

    Args:
        path: encoder, cross states or decoder step of an exported folder.
        kernels: name of the instruction set that the operators use.
        weights: name of the file that its weights are read from.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    exchange(model, kernels)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = weights
    return bytes(model.SerializeToString())


def exchange(model: ModelProto, kernels: str) -> None:
    """Rewrite a graph in place.

    Args:
        model: its weights may be external.
        kernels: name of the instruction set that the operators use.
    """
    import onnx

    graph = Graph(model.graph)
    for operators, rewrite in (
        (("MultiHeadAttention",), _attention),
        (("MatMulNBits", "MatMul"), _product),
        (("Add", "BiasGelu"), _bias),
        (("LayerNormalization",), _norm),
        (("SkipLayerNormalization",), _residual),
    ):
        for node in [node for node in graph.nodes if node.operator in operators]:
            rewrite(graph, node)
    for node in graph.nodes:
        if node.domain == DOMAIN:
            node.attributes = {**node.attributes, "kernels": kernels}
    graph.write()
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _product(graph: Graph, node: Node) -> None:
    weight = graph.initializers.get(node.inputs[1])
    if weight is None:
        return
    inputs = node.inputs[:2]
    if node.operator == "MatMul":
        depth, columns = weight.dims
        shape = {"K": depth, "N": columns, "bits": FLOAT_BITS, "block_size": depth}
    else:
        if any(node.inputs[3:5]):  # zero points and a group index, which our exporter does not write
            return
        inputs += [node.inputs[2], *node.inputs[5:6]]
        shape = {name: node.attributes[name] for name in ("K", "N", "bits", "block_size")}
    inputs += [""] * (RESIDUAL + 1 - len(inputs))
    graph.replace([node], Node("Linear", inputs, node.outputs, {**shape, "gelu": 0, "epsilon": 0.0}, DOMAIN))


def _bias(graph: Graph, node: Node) -> None:
    for product, bias in (node.inputs, node.inputs[::-1]):
        linear = graph.maker(product)
        constant = graph.initializers.get(bias)
        if linear is None or constant is None or not _open(graph, linear):
            continue
        if list(constant.dims) == [linear.attributes["N"]] and not linear.inputs[BIAS]:
            gelu = int(node.operator == "BiasGelu")
            inputs = _with(linear.inputs, {BIAS: bias})
            attributes = {**linear.attributes, "gelu": gelu}
            graph.replace([linear, node], Node("Linear", inputs, node.outputs, attributes, DOMAIN))
            return


def _norm(graph: Graph, node: Node) -> None:
    normalized = node.outputs[0]
    if len([value for value in node.outputs if value]) > 1 or not _feeds_linears(graph, normalized):
        return
    _normalize_readers(graph, normalized, node.inputs[0], node)


def _residual(graph: Graph, node: Node) -> None:
    update, skip, _, _, *bias = node.inputs
    normalized, summed = node.outputs[0], (node.outputs + [""] * 3)[3]
    linear = graph.maker(update)
    if linear is None or not _open(graph, linear) or not _feeds_linears(graph, normalized):
        return
    if bias and linear.inputs[BIAS]:
        return
    summed = summed or f"{normalized}.residual"
    inputs = _with(linear.inputs, {RESIDUAL: skip, **({BIAS: bias[0]} if bias else {})})
    _normalize_readers(graph, normalized, summed, node)
    graph.replace([linear, node], Node("Linear", inputs, [summed], linear.attributes, DOMAIN))


def _attention(graph: Graph, node: Node) -> None:
    """Take the way of rows through the grid of requests by beams out of the graph, with what updates the cache."""
    squeeze = graph.maker(node.inputs[0])
    to_grid = graph.maker(squeeze.inputs[0]) if squeeze else None
    reshape = graph.only_reader(node.outputs[0])
    to_rows = graph.only_reader(reshape.outputs[0]) if reshape else None
    if squeeze is None or to_grid is None or reshape is None or to_rows is None:
        return
    steps = [to_grid.operator, squeeze.operator, reshape.operator, to_rows.operator]
    if steps != ["Gather", "Squeeze", "Reshape", "Gather"]:
        return
    attributes = {name: node.attributes[name] for name in ("num_heads", "scale")}
    states, (mask, bias) = node.inputs[1:3], (node.inputs + [""] * 3)[4:6]
    written = [graph.maker(state) for state in states]
    if mask and not bias and written == [None, None] and PLACES in graph.inputs:
        inputs = [to_grid.inputs[0], *states, mask, PLACES]
        graph.replace([node, to_rows], Node("CrossAttention", inputs, to_rows.outputs, attributes, DOMAIN))
    elif bias and not mask and all(maker is not None and maker.operator == "ScatterND" for maker in written):
        scatters = [maker for maker in written if maker is not None]
        heads = [graph.maker(scatter.inputs[2]) for scatter in scatters]
        sources = [to_grid.inputs[0], *(reshaped.inputs[0] for reshaped in heads if reshaped is not None)]
        parts = [_part(graph, value) for value in sources]
        offsets = dict(
            zip(("query_offset", "key_offset", "value_offset"), (offset for _, offset in parts), strict=True)
        )
        pasts = [scatter.inputs[0] for scatter in scatters]
        inputs = [*(value for value, _ in parts), *pasts, scatters[0].inputs[1], bias, to_rows.inputs[1]]
        outputs = [to_rows.outputs[0], *states]
        graph.replace([*scatters, node, to_rows], Node("SelfAttention", inputs, outputs, attributes | offsets, DOMAIN))


def _part(graph: Graph, value: str) -> tuple[str, int]:
    """The value that a part was split from, and where in its last axis the part begins."""
    import onnx

    split = graph.maker(value)
    if split is None or split.operator != "Split":
        return value, 0
    sizes = onnx.numpy_helper.to_array(graph.initializers[split.inputs[1]])
    return split.inputs[0], int(sizes[: split.outputs.index(value)].sum())


def _open(graph: Graph, node: Node) -> bool:
    """Whether something may still be added to what a node gives: a product that only the next node reads."""
    if node.operator != "Linear" or node.attributes["gelu"] or node.inputs[RESIDUAL]:
        return False
    return graph.only_reader(node.outputs[0]) is not None


def _feeds_linears(graph: Graph, value: str) -> bool:
    """Whether a value goes into products, as what they multiply, and nowhere else."""
    readers = graph.readers(value)
    return not graph.is_output(value) and all(
        reader.operator == "Linear" and reader.inputs.index(value) == X and not reader.inputs[NORM_SCALE]
        for reader in readers
    )


def _normalize_readers(graph: Graph, normalized: str, plain: str, norm: Node) -> None:
    """Let the products that read a normalised value read the plain one and normalise it themselves."""
    scale, shift = norm.inputs[1:3] if norm.operator == "LayerNormalization" else norm.inputs[2:4]
    for reader in list(graph.readers(normalized)):
        inputs = _with(reader.inputs, {X: plain, NORM_SCALE: scale, NORM_SHIFT: shift})
        attributes = {**reader.attributes, "epsilon": norm.attributes["epsilon"]}
        graph.replace([reader], replace(reader, inputs=inputs, attributes=attributes))


def _with(inputs: list[str], changes: dict[int, str]) -> list[str]:
    return [changes.get(place, value) for place, value in enumerate(inputs)]
