"""The operators of attention beside numpy, on every instruction set of this processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.engine.kernels.operators import run

Floats = NDArray[np.float32]


class Step(NamedTuple):
    """A decoder step of requests with several beams each.

    Attributes:
        query, key, value: [row, 1, heads * channels].
        past: keys and values [2, request, head, slot, channel].
        requests, slots: of each row: where it writes.
        lines: the slots that each row reads, what it writes included [row, slot].
        beams: of the grid.
        cells: where each row stands on the grid.
    """

    query: Floats
    key: Floats
    value: Floats
    past: Floats
    requests: NDArray[np.int64]
    slots: NDArray[np.int64]
    lines: NDArray[np.bool_]
    beams: int
    cells: NDArray[np.int64]

    @property
    def places(self) -> NDArray[np.int64]:
        heads = self.past.shape[2]
        columns = [np.repeat(column[:, None], heads, 1) for column in (self.requests, self.slots)]
        return np.stack([columns[0], np.broadcast_to(np.arange(heads), columns[0].shape), columns[1]], -1)

    @property
    def bias(self) -> Floats:
        requests, slots = self.past.shape[1], self.past.shape[3]
        bias = np.full((requests * self.beams, slots), -1e9, np.float32)
        bias[self.cells] = np.where(self.lines, 0, -1e9)
        return bias.reshape(requests, 1, self.beams, slots)


def a_step(rng: np.random.Generator, beams: tuple[int, ...], heads: int, channels: int, slots: int) -> Step:
    requests = np.repeat(np.arange(len(beams)), beams)
    rows, width = len(requests), heads * channels
    written = np.concatenate([rng.choice(slots, count, replace=False) for count in beams])
    lines = rng.random((rows, slots)) < 0.4
    for row in range(rows):
        lines[row, written[requests == requests[row]]] = False
        lines[row, written[row]] = True
    states = rng.normal(size=(3, rows, 1, width)).astype(np.float32)
    past = rng.normal(size=(2, len(beams), heads, slots, channels)).astype(np.float32)
    cells = np.concatenate([request * max(beams) + np.arange(count) for request, count in enumerate(beams)])
    return Step(states[0], states[1], states[2], past, requests, written, lines, max(beams), cells)


def attended(query: Floats, keys: Floats, values: Floats, read: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of one row [head, channel] over keys and values [head, slot, channel]."""
    scores = np.einsum("hc,hsc->hs", query.astype(np.float64), keys[:, read]) * query.shape[1] ** -0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.asarray(np.einsum("hs,hsc->hc", weights, values[:, read]))


def self_attention(built: Path, kernels: str, step: Step, *, joined: bool, threads: int = 2) -> list[Floats]:
    heads, channels = step.past.shape[2], step.past.shape[4]
    width = heads * channels
    states: dict[str, Any] = {"query": step.query, "key": step.key, "value": step.value}
    offsets = (0, 0, 0)
    if joined:
        states = dict.fromkeys(states, np.concatenate([step.query, step.key, step.value], -1))
        offsets = (0, width, 2 * width)
    inputs = {**states, "past_key": step.past[0], "past_value": step.past[1]}
    inputs |= {"places": step.places, "bias": step.bias, "row_cells": step.cells}
    names = ("query_offset", "key_offset", "value_offset")
    return run(
        built,
        "SelfAttention",
        inputs,
        {},
        outputs=3,
        threads=threads,
        kernels=kernels,
        num_heads=heads,
        scale=float(channels**-0.5),
        **dict(zip(names, offsets, strict=True)),
    )


SHAPES = [((1,), 2, 16, 8), ((10, 1, 4), 4, 40, 64), ((3, 2), 3, 24, 160), ((2,), 2, 5, 33), ((4, 4), 2, 80, 40)]


@pytest.mark.parametrize(("beams", "heads", "channels", "slots"), SHAPES)
@pytest.mark.parametrize("joined", [False, True])
def test_rows_attend_to_the_slots_of_their_line_and_write_their_own(
    built: Path,
    instruction_sets: list[str],
    beams: tuple[int, ...],
    heads: int,
    channels: int,
    slots: int,
    joined: bool,
) -> None:
    step = a_step(np.random.default_rng(slots), beams, heads, channels, slots)
    rows = len(step.requests)
    present = step.past.copy()
    for row in range(rows):
        place = step.requests[row], slice(None), step.slots[row]
        for kind, state in enumerate((step.key, step.value)):
            present[kind][place] = state[row].reshape(heads, channels)
    for kernels in instruction_sets:
        found, keys, values = self_attention(built, kernels, step, joined=joined)
        assert keys.tobytes() == present[0].tobytes()
        assert values.tobytes() == present[1].tobytes()
        for row in range(rows):
            request, query = step.requests[row], step.query[row].reshape(heads, channels)
            expected = attended(query, present[0, request], present[1, request], step.lines[row])
            assert np.abs(found[row, 0] - expected.ravel()).max() < 1e-5, (kernels, row)


def test_a_row_attends_bit_for_bit_alike_alone_and_among_requests(built: Path, instruction_sets: list[str]) -> None:
    step = a_step(np.random.default_rng(1), (4, 10, 1, 2), 4, 40, 64)
    expected = self_attention(built, instruction_sets[0], step, joined=True)[0]
    for request in range(4):
        rows = step.requests == request
        alone = step._replace(
            query=step.query[rows],
            key=step.key[rows],
            value=step.value[rows],
            past=step.past[:, request : request + 1],
            requests=step.requests[rows] * 0,
            slots=step.slots[rows],
            lines=step.lines[rows],
            beams=int(rows.sum()),
            cells=np.arange(rows.sum()),
        )
        for kernels in instruction_sets:
            for threads in (1, 2):
                found = self_attention(built, kernels, alone, joined=True, threads=threads)[0]
                assert found.tobytes() == expected[rows].tobytes(), (kernels, threads, request)


def test_rows_attend_to_the_tokens_of_their_source(built: Path, instruction_sets: list[str]) -> None:
    rng = np.random.default_rng(2)
    for beams, heads, channels, source in SHAPES:
        step = a_step(rng, beams, heads, channels, max(source, max(beams)))
        states = rng.normal(size=(2, len(beams), heads, source, channels)).astype(np.float32)
        mask = (np.arange(source) < rng.integers(1, source + 1, (len(beams), 1))).astype(np.int32)
        inputs = {"query": step.query, "key": states[0], "value": states[1], "mask": mask, "places": step.places}
        for kernels in instruction_sets:
            (found,) = run(
                built,
                "CrossAttention",
                inputs,
                {},
                kernels=kernels,
                num_heads=heads,
                scale=float(channels**-0.5),
            )
            for row, request in enumerate(step.requests):
                query = step.query[row].reshape(heads, channels)
                expected = attended(query, states[0, request], states[1, request], mask[request] == 1)
                assert np.abs(found[row, 0] - expected.ravel()).max() < 1e-5, (kernels, row)


def test_places_outside_the_cache_are_refused(built: Path, instruction_sets: list[str]) -> None:
    step = a_step(np.random.default_rng(3), (2, 2), 2, 16, 8)
    for wrong in (
        step._replace(slots=step.slots + 8),
        step._replace(slots=step.slots - 9),
        step._replace(requests=step.requests + 1),
        step._replace(requests=step.requests[::-1].copy()),
    ):
        with pytest.raises(Exception, match=r"outside the cache|stand together"):
            self_attention(built, instruction_sets[0], wrong, joined=True)
    for cells in (step.cells + 4, step.cells - 1, step.cells + 2**60):
        with pytest.raises(Exception, match="outside the grid"):
            run_with_cells(built, instruction_sets[0], step, cells)


def run_with_cells(built: Path, kernels: str, step: Step, cells: NDArray[np.int64]) -> None:
    inputs = {"query": step.query, "key": step.key, "value": step.value, "past_key": step.past[0]}
    inputs |= {"past_value": step.past[1], "places": step.places, "bias": step.bias, "row_cells": cells}
    offsets = {"query_offset": 0, "key_offset": 0, "value_offset": 0}
    run(built, "SelfAttention", inputs, {}, outputs=3, kernels=kernels, num_heads=2, scale=0.25, **offsets)
