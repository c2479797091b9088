"""The cache beside a naive one that keeps a full copy of its past for every row."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.engine.kv_cache import SLOTS, Block, CacheShape, KVCache

LONGEST = 60
SHAPE = CacheShape(layers=2, heads=2, head_dim=3)
WIDTHS = (1, 2, 4, 10)


@dataclass
class Naive:
    """What each row of a block has written."""

    block: Block
    width: int
    rows: list[list[float]] = field(default_factory=lambda: [[]])


class Rig:
    """Drives a cache as a batch does, and the naive rows beside it."""

    def __init__(self, seed: int) -> None:
        self.cache = KVCache(SHAPE)
        self.running: list[Naive] = []
        self.most_slots = 0
        self._draw = random.Random(seed)
        self._written = 0.0

    def add(self, width: int | None = None) -> None:
        self.running.append(Naive(self.cache.add(), width or self._draw.choice(WIDTHS)))

    def remove(self, naive: Naive) -> None:
        self.running.remove(naive)
        self.cache.remove(naive.block)
        self.check()

    def step(self) -> None:
        """Write a number of its own for every row, then let each block go on from parents drawn at random."""
        cache = self.cache
        if cache.crowded:
            cache.grow()
        cache.claim()
        places = iter(cache.places)
        by_place = {id(block): place for place, block in enumerate(cache.blocks)}
        for naive in sorted(self.running, key=lambda naive: by_place[id(naive.block)]):
            for row in naive.rows:
                self._written += 1
                row.append(self._written)
                for request, head, slot in next(places):
                    for index, buffer in enumerate(cache.buffers):
                        buffer[request, head, slot] = self._value(self._written, index, head)
        assert next(places, None) is None
        self.check()
        for naive in self.running:
            parents = self._draw.choices(range(len(naive.rows)), k=naive.width)
            naive.rows = [list(naive.rows[parent]) for parent in parents]
            cache.reorder(naive.block, np.array(parents, np.intp))
        self.most_slots = max(self.most_slots, cache.slots)
        self.check()

    def check(self) -> None:
        """Each row reads, in whatever order, what it and those before it in its line have written."""
        cache = self.cache
        assert len(cache.blocks) == len(self.running)
        for buffer in cache.buffers:
            assert buffer.shape == (len(self.running), SHAPE.heads, cache.slots, SHAPE.head_dim)
            assert buffer.flags.c_contiguous
        for naive in self.running:
            place = cache.blocks.index(naive.block)
            assert naive.block.slot_mask.shape == (len(naive.rows), cache.slots)
            for line, expected in zip(naive.block.slot_mask, naive.rows, strict=True):
                for index, buffer in enumerate(cache.buffers):
                    for head in range(SHAPE.heads):
                        read = buffer[place, head, line]
                        assert (read == read[:, :1]).all()
                        assert sorted(read[:, 0]) == [self._value(number, index, head) for number in expected]

    def turn(self, most: int) -> None:
        """One step of a busy service: requests join, all write, those of full length and some others leave."""
        for _ in range(self._draw.choice((0, 0, 1, 2))):
            if len(self.running) < most:
                self.add()
        if not self.running:
            return
        self.step()
        for naive in list(self.running):
            if len(naive.rows[0]) >= LONGEST - 1 or self._draw.random() < 0.02:
                self.remove(naive)

    @staticmethod
    def _value(written: float, index: int, head: int) -> float:
        return written + index / 8 + head / 64


@pytest.mark.parametrize("seed", range(6))
def test_each_row_reads_what_its_line_has_written(seed: int) -> None:
    rig = Rig(seed)
    for _ in range(80):
        rig.turn(most=6)
    assert rig.most_slots > SLOTS, "too few for slots to be added"


def test_slots_are_added_when_they_run_out_and_given_up_with_the_request_that_needed_them() -> None:
    rig = Rig(seed=1)
    rig.add(width=1)
    rig.add(width=10)
    first, wide = rig.running
    while rig.cache.slots == SLOTS:
        rig.step()
        wide.width = 1 if wide.width == 10 else 10
    assert rig.cache.slots == 2 * SLOTS
    rig.remove(wide)
    assert len(first.rows[0]) < SLOTS
    assert rig.cache.slots == SLOTS


def test_what_no_row_reads_is_free_again() -> None:
    rig = Rig(seed=2)
    rig.add(width=10)
    block = rig.running[0].block
    for _ in range(SLOTS - 10):
        rig.cache.claim()
        rig.cache.reorder(block, np.zeros(10, np.intp))
    assert block.slot_mask.any(axis=0).sum() == SLOTS - 10
    assert not rig.cache.crowded


def test_the_last_block_takes_the_place_of_one_that_leaves() -> None:
    rig = Rig(seed=3)
    for _ in range(3):
        rig.add()
    rig.step()
    first, second, third = rig.running
    rig.remove(first)
    assert rig.cache.blocks == [third.block, second.block]
    rig.step()


def test_memory_is_kept_when_a_reply_ends_and_used_again() -> None:
    cache = KVCache(SHAPE)
    for _ in range(3):
        block = cache.add()
        memory = [buffer.ctypes.data for buffer in cache.buffers]
        cache.claim()
        cache.remove(block)
        assert len(cache.blocks) == 0
    cache.add()
    assert [buffer.ctypes.data for buffer in cache.buffers] == memory


def test_a_beam_switch_moves_no_key_and_no_value() -> None:
    cache = KVCache(SHAPE)
    block = cache.add()
    cache.claim()
    cache.reorder(block, np.zeros(4, np.intp))
    cache.claim()
    written = block.claimed.tolist()
    for buffer in cache.buffers:
        buffer[0, :, written] = np.arange(4)[:, None, None]
    before = [buffer.copy() for buffer in cache.buffers]
    cache.reorder(block, np.array([3, 3, 0, 1], np.intp))
    assert all((now == then).all() for now, then in zip(cache.buffers, before, strict=True))
    reads = [set(np.flatnonzero(line)) for line in block.slot_mask]
    assert reads == [{0, written[3]}, {0, written[3]}, {0, written[0]}, {0, written[1]}]
