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


@dataclass
class _Member:
    sequence: Sequence
    block: Block
    cross: CrossStates


class Batch:
    """Sequences that are decoded together, one token each a step.

    A sequence joins with one row, goes on with its beams, and leaves when it is finished or removed. The memory of an
    empty batch is kept, so that one that is used again has nothing to allocate.

    Attributes:
        longest: most tokens of any reply.
    """

    def __init__(self, network: Network, *, longest: int) -> None:
        """
        Args:
            network: sessions of the model.
            longest: most tokens of any reply.
        """
        self.longest = longest
        self._network = network
        self._cache = network.cache(longest)
        self._members: list[_Member] = []
        self._binding: StepBinding | None = None
        self._grid: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def rows(self) -> int:
        """Rows that the next step computes."""
        return self._cache.rows

    def add(self, sequence: Sequence) -> None:
        """Encode a sequence and let it take part from the next step on."""
        cross = self._network.encode(sequence.source)
        self._binding = None
        self._members.append(_Member(sequence, self._cache.add(), cross))

    def remove(self, sequence: Sequence) -> None:
        """Drop a sequence, finished or not."""
        member = next(member for member in self._members if member.sequence is sequence)
        self._binding = None
        self._members.remove(member)
        self._cache.remove(member.block)

    def step(self) -> list[Sequence]:
        """Compute one token for every sequence; those that finished with it are returned and leave."""
        if self._binding is None:
            self._binding = self._network.bind(
                self._cache, CrossStates.join([member.cross for member in self._members])
            )
            self._grid = self._layout()
        outputs = self._binding.run(self._inputs())
        self._cache.written()
        finished = []
        moves = []
        for member in self._members:
            search, block = member.sequence.search, member.block
            parents = search.advance(outputs[search.scores_name][block.first : block.first + block.rows, 0])
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
        cache = self._cache
        return {
            "input_ids": np.concatenate([held[:, -1:] for held in tokens]),
            "position_ids": np.concatenate([np.full((len(held), 1), held.shape[1] - 1) for held in tokens]),
            "slot": np.array([cache.slot], np.int32),
            "slot_mask": cache.mask,
            "cache_indirection": cache.indirection[None, : cache.rows],
            **self._grid,
        }

    def _layout(self) -> dict[str, NDArray[Any]]:
        """Where each row stands on the grid of requests by beams; narrower requests repeat their last row."""
        blocks = [member.block for member in self._members]
        width = max(block.rows for block in blocks)
        beams = np.arange(width)
        return {
            "grid_rows": np.stack([block.first + np.minimum(beams, block.rows - 1) for block in blocks]),
            "row_cells": np.concatenate([place * width + np.arange(block.rows) for place, block in enumerate(blocks)]),
        }
