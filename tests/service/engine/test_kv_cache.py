"""The cache beside a naive one that keeps a full copy of its past for every row."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.engine.kv_cache import IDLE_SLOTS, Block, CacheShape, KVCache

LONGEST = 12
SHAPE = CacheShape(layers=2, heads=2, head_dim=3, longest=LONGEST)
WIDTHS = (1, 2, 4, 10)


@dataclass
class Naive:
    """What each row of a block has written, oldest first."""

    block: Block
    width: int
    rows: list[list[float]] = field(default_factory=lambda: [[]])


class Rig:
    """Drives a cache as a batch does, and the naive rows beside it."""

    def __init__(self, seed: int) -> None:
        self.cache = KVCache(SHAPE)
        self.running: list[Naive] = []
        self.shifts = 0
        self._draw = random.Random(seed)
        self._written = 0.0

    def add(self) -> None:
        slot = self.cache.slot
        self.running.append(Naive(self.cache.add(), self._draw.choice(WIDTHS)))
        self.shifts += 0 < self.cache.slot < slot

    def remove(self, naive: Naive) -> None:
        slot = self.cache.slot
        self.running.remove(naive)
        self.cache.remove(naive.block)
        self.shifts += 0 < self.cache.slot < slot

    def step(self) -> None:
        """Write a number of its own in every row, then let each block go on from parents drawn at random."""
        self.check()
        for naive in self.running:
            for number, row in enumerate(naive.rows):
                self._written += 1
                row.append(self._written)
                for index, buffer in enumerate(self.cache.buffers):
                    buffer[naive.block.first + number, :, self.cache.slot] = self._written + index / 8
        self.cache.written()
        for naive in self.running:
            parents = self._draw.choices(range(len(naive.rows)), k=naive.width)
            naive.rows = [list(naive.rows[parent]) for parent in parents]
            self.cache.reorder(naive.block, np.array(parents, np.intp))

    def check(self) -> None:
        """The step that comes next reads for each row what that row and those before it in its line have written."""
        cache, slot = self.cache, self.cache.slot
        assert slot < cache.slots
        assert cache.mask.shape == (cache.rows, slot + 1)
        past = cache.indirection[: cache.rows, :slot]
        assert ((past >= 0) & (past < cache.rows)).all(), "a slot of the past is looked up outside the rows"
        first = 0
        for naive in self.running:
            assert (naive.block.first, naive.block.rows) == (first, len(naive.rows)), "the rows are not gapless"
            first += naive.block.rows
            for number, expected in enumerate(naive.rows):
                row = naive.block.first + number
                assert cache.mask[row, slot] == 1
                used = np.flatnonzero(cache.mask[row, :slot])
                for index, buffer in enumerate(cache.buffers):
                    read = buffer[cache.indirection[row, used], :, used]
                    assert (read == np.array(expected)[:, None, None] + index / 8).all()
        assert first == cache.rows

    def turn(self, most: int) -> None:
        """One step of a busy service: requests join, all write, those of full length and some others leave."""
        for _ in range(self._draw.choice((0, 0, 1, 2))):
            if len(self.running) < most:
                self.add()
        if not self.running:
            return
        self.step()
        for naive in list(self.running):
            if len(naive.rows[0]) >= LONGEST - 1 or self._draw.random() < 0.05:
                self.remove(naive)


@pytest.mark.parametrize("seed", range(8))
def test_each_row_reads_what_its_line_has_written(seed: int) -> None:
    rig = Rig(seed)
    for _ in range(60):
        rig.turn(most=6)


def test_a_service_that_is_never_idle_keeps_within_the_slots_of_its_buffers() -> None:
    rig = Rig(seed=1)
    steps = 600
    for _ in range(steps):
        if not rig.running:
            rig.add()
        rig.turn(most=4)
    assert rig.cache.slots == LONGEST + IDLE_SLOTS
    assert rig.shifts >= steps / rig.cache.slots / 2


def test_an_empty_cache_begins_again_at_the_first_slot() -> None:
    rig = Rig(seed=2)
    for _ in range(5):
        rig.add()
        rig.step()
    for naive in list(rig.running):
        rig.remove(naive)
    assert rig.cache.rows == 0
    rig.add()
    assert rig.cache.slot == 0
    rig.step()
    rig.check()


def test_a_block_moves_up_when_one_before_it_leaves() -> None:
    rig = Rig(seed=3)
    for _ in range(3):
        rig.add()
    rig.step()
    before = sum(naive.width for naive in rig.running)
    leaving = rig.running[0]
    rig.remove(leaving)
    assert rig.running[0].block.first == 0
    assert rig.cache.rows == before - leaving.width
    rig.check()


def test_a_beam_switch_moves_no_key_and_no_value() -> None:
    cache = KVCache(SHAPE)
    block = cache.add()
    cache.written()
    cache.reorder(block, np.zeros(4, np.intp))
    for buffer in cache.buffers:
        buffer[:4, :, 1] = np.arange(4)[:, None, None]
    before = [buffer.copy() for buffer in cache.buffers]
    cache.written()
    cache.reorder(block, np.array([3, 3, 0, 1], np.intp))
    assert all((now == then).all() for now, then in zip(cache.buffers, before, strict=True))
    assert cache.indirection[:4, 1].tolist() == [3, 3, 0, 1]
