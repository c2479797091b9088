"""Self-attention keys and values of the running rows, in buffers that grow with the rows and are kept.

Buffers are [row, head, slot, channel]. All rows write the same slot in a step. A row may read an earlier slot from
another row of its request: `indirection` says from which, so a beam switch changes integers and copies no key or value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Slots before the oldest running row cost attention time; beyond this many they are moved out of the way. A request
# that runs alone begins at the first slot and needs none.
IDLE_SLOTS = 32


@dataclass(frozen=True)
class CacheShape:
    """Sizes of the buffers: layers, heads and channels of the model, longest reply in tokens."""

    layers: int
    heads: int
    head_dim: int
    longest: int


@dataclass
class Block:
    """The rows of one request: `rows` of them from `first` on, with slots from `start` on."""

    first: int
    rows: int
    start: int


class KVCache:
    """Blocks of rows, kept without gaps so that a step computes no idle row."""

    def __init__(self, shape: CacheShape) -> None:
        self._shape = shape
        self.slots = shape.longest
        self.buffers: list[NDArray[np.float32]] = []
        self.indirection = np.zeros((0, self.slots), np.int32)
        self._mask = np.zeros((0, self.slots), np.int32)
        self.slot = 0
        self._blocks: list[Block] = []
        self._reserve(1)

    @property
    def rows(self) -> int:
        """Rows that a step computes."""
        return sum(block.rows for block in self._blocks)

    @property
    def mask(self) -> NDArray[np.int32]:
        """1 for the slots that belong to a row, the one being written included, [rows, slot + 1]."""
        return np.ascontiguousarray(self._mask[: self.rows, : self.slot + 1])

    def add(self) -> Block:
        """A block of one row for a new request, beginning at the next slot."""
        if not self._blocks:
            self.slot = 0
        elif self.slots == self._shape.longest:
            self._allocate(len(self.indirection), self.slots + IDLE_SLOTS)
        block = Block(self.rows, 1, self.slot)
        self._reserve(block.first + 1)
        self._blocks.append(block)
        self._start(block)
        return block

    def written(self) -> None:
        """Note that a step has written the current slot of every row."""
        self.indirection[: self.rows, self.slot] = np.arange(self.rows)
        self.slot += 1

    def reorder(self, block: Block, parents: NDArray[np.intp]) -> None:
        """Let the rows of a block continue other rows of it.

        Args:
            block: one of this cache.
            parents: for each of its rows from now on, the row it continues, counted within the block.
        """
        if len(parents) != block.rows:
            self._resize(block, len(parents))
        rows = slice(block.first, block.first + block.rows)
        self.indirection[rows] = self.indirection[block.first + parents]

    def remove(self, block: Block) -> None:
        """Give up a block; those behind it move up."""
        place = self._blocks.index(block)
        del self._blocks[place]
        first = block.first
        for other in self._blocks[place:]:
            self._move(other, first)
            first += other.rows
        self._drop_idle_slots()

    def _resize(self, block: Block, rows: int) -> None:
        place = self._blocks.index(block)
        self._reserve(self.rows - block.rows + rows)
        shift = rows - block.rows
        for other in reversed(self._blocks[place + 1 :]):
            self._move(other, other.first + shift)
        block.rows = rows
        self._mask[block.first : block.first + rows] = self._mask[block.first]

    def _move(self, block: Block, first: int) -> None:
        """Copy the rows of a block to other places; they read only from one another."""
        if first == block.first:
            return
        old, new = slice(block.first, block.first + block.rows), slice(first, first + block.rows)
        used = slice(block.start, self.slot)
        for buffer in self.buffers:
            buffer[new, :, used] = buffer[old, :, used]
        self.indirection[new] = self.indirection[old] + np.int32(first - block.first)
        self._mask[new] = self._mask[old]
        block.first = first

    def _drop_idle_slots(self) -> None:
        idle = min((block.start for block in self._blocks), default=0)
        if idle >= IDLE_SLOTS:
            self._shift(idle)

    def _shift(self, count: int) -> None:
        """Move everything `count` slots towards the beginning."""
        rows = self.rows
        for buffer in self.buffers:
            buffer[:rows, :, : self.slot - count] = buffer[:rows, :, count : self.slot]
        self.indirection[:rows, : self.slot - count] = self.indirection[:rows, count : self.slot]
        self.slot -= count
        for block in self._blocks:
            block.start -= count
            self._start(block)

    def _start(self, block: Block) -> None:
        rows = slice(block.first, block.first + block.rows)
        self._mask[rows] = np.arange(self.slots) >= block.start
        # A slot before the beginning is masked, but its row is still looked up.
        self.indirection[rows, : block.start] = block.first

    def _reserve(self, rows: int) -> None:
        """Make the buffers large enough, doubling."""
        held = len(self.indirection)
        if rows > held:
            self._allocate(max(rows, 2 * held if held > 1 else rows), self.slots)

    def _allocate(self, capacity: int, slots: int) -> None:
        """Exchange the buffers for larger ones, with what they hold kept."""
        shape, held, grown = self._shape, len(self.indirection), slots - self.slots
        old = self.buffers
        self.buffers = [
            np.zeros((capacity, shape.heads, slots, shape.head_dim), np.float32) for _ in range(2 * shape.layers)
        ]
        for new, former in zip(self.buffers, old, strict=False):
            new[:held, :, : self.slot] = former[:, :, : self.slot]
        more = ((0, capacity - held), (0, grown))
        self.indirection = np.pad(self.indirection, more)
        self._mask = np.pad(self._mask, more, constant_values=1)
        self.slots = slots
