"""The running batch: sequences of any age that share each decoder step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service.engine.kv_cache import Block
from service.engine.network import CrossStates, Network, StepBinding
from service.engine.sequence import Sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray


# What a slot that a row does not read is given before the softmax.
UNREAD = np.float32(-1e9)


@dataclass
class _Member:
    sequence: Sequence
    block: Block
    cross: CrossStates


class Batch:
    """Sequences that are decoded together, one token each a step.

    A sequence joins with one row, goes on with its beams, and leaves when it is finished or removed. The memory of an
    empty batch is kept, so that one that is used again has nothing to allocate.

    Args:
        network: sessions of the model.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache = network.cache()
        self._members: list[_Member] = []
        self._binding: StepBinding | None = None
        self._grid: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def rows(self) -> int:
        """Rows that the next step computes."""
        return sum(member.block.rows for member in self._members)

    def add(self, sequence: Sequence) -> None:
        """Encode a sequence and let it take part from the next step on."""
        cross = self._network.encode(sequence.source)
        self._binding = None
        self._members.append(_Member(sequence, self._cache.add(), cross))

    def remove(self, sequence: Sequence) -> None:
        """Drop a sequence, finished or not."""
        place = next(place for place, member in enumerate(self._members) if member.sequence is sequence)
        self._binding = None
        self._cache.remove(self._members[place].block)
        last = self._members.pop()
        if place < len(self._members):
            self._members[place] = last

    def step(self) -> list[Sequence]:
        """Compute one token for every sequence; those that finished with it are returned and leave."""
        if self._cache.crowded:
            self._binding = None
            self._cache.grow()
        self._cache.claim()
        if self._binding is None:
            self._binding = self._network.bind(
                self._cache, CrossStates.join([member.cross for member in self._members]), self.rows
            )
            self._grid = self._layout()
        outputs = self._binding.run(self._inputs())
        finished = []
        moves = []
        first = 0
        for member in self._members:
            search, block = member.sequence.search, member.block
            parents = search.advance(outputs[search.scores_name][first : first + block.rows, 0])
            first += block.rows
            if search.finished:
                finished.append(member.sequence)
            else:
                moves.append((block, parents))
        for block, parents in moves:
            if len(parents) != block.rows:
                self._binding = None
            self._cache.reorder(block, parents)
        for sequence in finished:
            self.remove(sequence)
        return finished

    def _inputs(self) -> dict[str, NDArray[Any]]:
        tokens = [member.sequence.search.tokens for member in self._members]
        slot_mask = self._cache.slot_mask[self._grid["grid_rows"]]
        return {
            "input_ids": np.concatenate([rows[:, -1:] for rows in tokens]),
            "position_ids": np.concatenate([np.full((len(rows), 1), rows.shape[1] - 1) for rows in tokens]),
            "places": self._cache.places,
            "self_bias": np.where(slot_mask, np.float32(0), UNREAD)[:, None],
            **self._grid,
        }

    def _layout(self) -> dict[str, NDArray[Any]]:
        """Where each row stands on the grid of requests by beams; narrower requests repeat their last row."""
        rows = np.array([member.block.rows for member in self._members])
        first = np.cumsum(rows) - rows
        beams = np.arange(rows.max())
        return {
            "grid_rows": first[:, None] + np.minimum(beams, rows[:, None] - 1),
            "row_cells": np.concatenate([place * len(beams) + np.arange(count) for place, count in enumerate(rows)]),
        }
