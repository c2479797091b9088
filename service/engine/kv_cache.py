"""Self-attention keys and values of the running requests, each once however many hypotheses share it.

Buffers are [request, head, slot, channel]. A slot holds what one row wrote in one step. `Block.slot_mask` says which
slots each row reads, so a beam switch changes booleans and moves no key or value. A slot that no row reads is free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Slots of a request are added and given up by so many. All are computed, read or not, and adding some moves the rest.
SLOTS = 32


@dataclass(frozen=True)
class CacheShape:
    """Sizes that the model gives the buffers: layers, heads and channels of a head."""

    layers: int
    heads: int
    head_dim: int


@dataclass(eq=False)
class Block:
    """The slots of one request.

    Attributes:
        slot_mask: the slots that each row reads, bool [row, slot].
        claimed: the slot that each row writes in the present step [row].
    """

    slot_mask: NDArray[np.bool_]
    claimed: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))

    @property
    def rows(self) -> int:
        """Running hypotheses."""
        return len(self.slot_mask)

    @property
    def free(self) -> NDArray[np.intp]:
        """Slots that no row reads, lowest first."""
        return np.flatnonzero(~self.slot_mask.any(axis=0))

    @property
    def end(self) -> int:
        """The slot behind the last one that is read."""
        read = np.flatnonzero(self.slot_mask.any(axis=0))
        return int(read[-1]) + 1 if len(read) else 0


class KVCache:
    """Blocks side by side without gaps, in buffers whose memory is kept.

    Attributes:
        blocks: in the order of the buffers' first axis.
        slots: of every block.
        buffers: float32 [request, head, slot, channel], key and value of each layer in turn.
    """

    def __init__(self, shape: CacheShape) -> None:
        self._shape = shape
        self.blocks: list[Block] = []
        self.slots = SLOTS
        self._memory = [np.zeros(0, np.float32) for _ in range(2 * shape.layers)]
        self.buffers = [self._laid_out(memory, 0, SLOTS) for memory in self._memory]

    @property
    def slot_mask(self) -> NDArray[np.bool_]:
        """The slots that each row of every block reads, [row, slot]."""
        return np.concatenate([block.slot_mask for block in self.blocks])

    @property
    def places(self) -> NDArray[np.int64]:
        """Where each row writes in the present step: request, head and slot [row, head, 3]."""
        requests = np.repeat(np.arange(len(self.blocks)), [block.rows for block in self.blocks])
        places = np.empty((len(requests), self._shape.heads, 3), np.int64)
        places[..., 0] = requests[:, None]
        places[..., 1] = np.arange(self._shape.heads)
        places[..., 2] = np.concatenate([block.claimed for block in self.blocks])[:, None]
        return places

    @property
    def crowded(self) -> bool:
        """Whether a block has too few free slots for its rows to write the next step."""
        return any(len(block.free) < block.rows for block in self.blocks)

    def add(self) -> Block:
        """A block of one row for a new request."""
        block = Block(np.zeros((1, self.slots), bool))
        self._arrange(len(self.blocks) + 1, self.slots)
        self.blocks.append(block)
        return block

    def grow(self) -> None:
        """Give every block more slots; `buffers` are new arrays from then on."""
        self._arrange(len(self.blocks), self.slots + SLOTS)

    def claim(self) -> None:
        """Give every row a free slot, which it writes in the step that comes next and reads from then on."""
        for block in self.blocks:
            block.claimed = block.free[: block.rows]
            block.slot_mask[np.arange(block.rows), block.claimed] = True

    def reorder(self, block: Block, parents: NDArray[np.intp]) -> None:
        """Let the rows of a block continue other rows of it.

        Args:
            block: one of this cache.
            parents: for each of its rows from now on, the row it continues.
        """
        block.slot_mask = block.slot_mask[parents]

    def remove(self, block: Block) -> None:
        """Give up a block; the last one takes its place."""
        place, last = self.blocks.index(block), self.blocks.pop()
        if last is not block:
            self.blocks[place] = last
            for buffer in self.buffers:
                buffer[place, :, : last.end] = buffer[len(self.blocks), :, : last.end]
        end = max((block.end for block in self.blocks), default=0)
        self._arrange(len(self.blocks), min(self.slots, max(1, -(-end // SLOTS)) * SLOTS))

    def _arrange(self, requests: int, slots: int) -> None:
        """Lay the buffers out for so many blocks of so many slots, with what is read kept."""
        common_requests, common_slots = min(requests, len(self.buffers[0])), min(slots, self.slots)
        size = requests * self._shape.heads * slots * self._shape.head_dim
        for index, old in enumerate(self.buffers):
            memory = self._memory[index]
            if size > memory.size:
                self._memory[index] = np.zeros(size if requests == 1 else max(size, 2 * memory.size), np.float32)
            self.buffers[index] = self._laid_out(self._memory[index], requests, slots)
            if self._memory[index] is not memory or slots != self.slots:
                self.buffers[index][:common_requests, :, :common_slots] = old[:common_requests, :, :common_slots]
        for block in self.blocks:
            slot_mask = np.zeros((block.rows, slots), bool)
            slot_mask[:, :common_slots] = block.slot_mask[:, :common_slots]
            block.slot_mask = slot_mask
        self.slots = slots

    def _laid_out(self, memory: NDArray[np.float32], requests: int, slots: int) -> NDArray[np.float32]:
        shape = (requests, self._shape.heads, slots, self._shape.head_dim)
        return memory[: np.prod(shape)].reshape(shape)
