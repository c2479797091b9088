"""The stock graphs and the fused ones read the same bytes of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

from models.folder import WEIGHTS
from tests.service.engine.parity_cases import Pair

FUSED, STOCK = ("decoder_step.onnx", "cross_states.onnx"), "decoder_model_merged.onnx"
GRAPHS = (*FUSED, STOCK, "encoder_model.onnx")
PARTS = {"decoder_step.onnx": ("q", "k", "v"), "cross_states.onnx": ("k", "v")}


@dataclass(frozen=True)
class Place:
    """Bytes of the weight file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length

    def holds(self, other: Place) -> bool:
        return self.offset <= other.offset and other.end <= self.end


def places(path: Path) -> Mapping[str, Place]:
    """Where the initialisers of a graph stand in the weight file, by name."""
    found = {}
    for tensor in _tensors(onnx.load(path, load_external_data=False).graph):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            assert entries["location"] == WEIGHTS
            found[tensor.name] = Place(int(entries["offset"]), int(entries["length"]))
    return found


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


@pytest.fixture(params=["int8", "fp32", "whole pages", "wide int8", "wide int4"])
def folder(
    request: pytest.FixtureRequest, int8_export: Path, pair: Pair, tiny_export: Path, wide_exports: dict[str, Path]
) -> Path:
    narrow = {"int8": int8_export, "fp32": pair.export, "whole pages": tiny_export}
    return (narrow | {f"wide {bits}": export for bits, export in wide_exports.items()})[request.param]


def test_the_stock_decoder_has_no_weights_of_its_own(folder: Path) -> None:
    fused = [place for name in FUSED for place in places(folder / name).values()]
    stock = places(folder / STOCK)
    assert len(stock) > 10
    assert {name for name, place in stock.items() if not any(other.holds(place) for other in fused)} == set()


def test_the_fused_decoder_has_no_weights_of_its_own(folder: Path) -> None:
    stock = set(places(folder / STOCK).values())
    for graph in FUSED:
        for name, place in places(folder / graph).items():
            if place not in stock:
                assert sum(other.length for other in stock if place.holds(other)) == place.length, name


def test_joined_matrices_are_the_stock_ones_end_to_end(wide_exports: dict[str, Path]) -> None:
    for folder in wide_exports.values():
        stock = set(places(folder / STOCK).values())
        joined = 0
        for graph, parts in PARTS.items():
            for name, place in places(folder / graph).items():
                if name.endswith(".joined.packed"):
                    length = place.length // len(parts)
                    assert {Place(place.offset + number * length, length) for number in range(len(parts))} <= stock
                    joined += 1
        assert joined >= 2


def test_no_bytes_stand_twice_in_the_weight_file(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    outer: list[Place] = []
    for place in sorted({place for graph in GRAPHS for place in places(folder / graph).values()},
                        key=lambda place: (place.offset, -place.length)):  # fmt: skip
        if not outer or not outer[-1].holds(place):
            assert not outer or outer[-1].end <= place.offset, "weights overlap in part"
            outer.append(place)
    assert len({content[place.offset : place.end] for place in outer}) == len(outer)
    padding = len(content) - sum(place.length for place in outer)
    assert padding < 4096 * len(outer)


def test_every_graph_loads_and_finds_its_weights(folder: Path) -> None:
    for graph in GRAPHS:
        InferenceSession(folder / graph, providers=["CPUExecutionProvider"])
        for tensor in _tensors(onnx.load(folder / graph).graph):
            assert np.isfinite(onnx.numpy_helper.to_array(tensor)).all()
