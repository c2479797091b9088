"""An ONNX graph that is being rewritten: its nodes, with who makes and who reads each value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto


@dataclass(eq=False)
class Node:
    """One operator.

    Attributes:
        operator: its type.
        inputs: names of values; empty for an optional one that is left out.
        outputs: names of values.
        attributes: by name.
        domain: of the operator; empty for ONNX's own.
    """

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""

    @staticmethod
    def of(proto: NodeProto) -> Node:
        """A node as the file holds it."""
        import onnx

        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in proto.attribute}
        return Node(proto.op_type, list(proto.input), list(proto.output), attributes, proto.domain)


class Graph:
    """A graph whose nodes can be exchanged. Nodes stay in an order in which they can run."""

    def __init__(self, proto: GraphProto) -> None:
        self._proto = proto
        self.nodes = [Node.of(node) for node in proto.node]
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in proto.initializer}
        self.inputs = {value.name for value in proto.input}
        self._outputs = {value.name for value in proto.output}
        self._makers: dict[str, Node] = {}
        self._readers: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            self._link(node)

    def maker(self, value: str) -> Node | None:
        """The node that makes a value; None for inputs and initialisers."""
        return self._makers.get(value)

    def readers(self, value: str) -> Sequence[Node]:
        """The nodes that read a value."""
        return self._readers[value]

    def only_reader(self, value: str) -> Node | None:
        """The node that reads a value, if it is the only one and the value is no output of the graph."""
        readers = self._readers[value]
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def is_output(self, value: str) -> bool:
        """Whether a value is an output of the graph."""
        return value in self._outputs

    def replace(self, old: Sequence[Node], new: Node) -> None:
        """Put a node in the place of the last of some others, which go."""
        place = max(self.nodes.index(node) for node in old)
        self.nodes.insert(place + 1, new)
        for node in old:
            self._unlink(node)
            self.nodes.remove(node)
        self._link(new)

    def write(self) -> None:
        """Put the nodes back into the file's graph, without what nobody reads any more."""
        import onnx

        needed = set(self._outputs)
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                nodes.append(
                    onnx.helper.make_node(
                        node.operator, node.inputs, node.outputs, node.outputs[0], domain=node.domain, **node.attributes
                    )
                )
        initializers = [tensor for name, tensor in self.initializers.items() if name in needed]
        del self._proto.node[:], self._proto.initializer[:]
        self._proto.node.extend(reversed(nodes))
        self._proto.initializer.extend(initializers)

    def _link(self, node: Node) -> None:
        for value in node.outputs:
            self._makers[value] = node
        for value in dict.fromkeys(node.inputs):
            self._readers[value].append(node)

    def _unlink(self, node: Node) -> None:
        for value in node.outputs:
            if self._makers.get(value) is node:
                del self._makers[value]
        for value in dict.fromkeys(node.inputs):
            self._readers[value].remove(node)
