"""Replies that need not be computed again: finished ones, and those under way for somebody else."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence as Ids
from dataclasses import dataclass

from service.engine.generation import Generation, Progress, Timing, TokenStream
from service.engine.settings import DecodingSettings

Key = tuple[bytes, DecodingSettings]


@dataclass(frozen=True)
class CachedReply:
    """A reply that was finished before it was asked for; a `TokenStream`.

    Attributes:
        settings: how it was decoded.
        ids: its tokens, start token first.
    """

    settings: DecodingSettings
    ids: list[int]

    @property
    def position(self) -> int:
        return 0

    @property
    def done(self) -> bool:
        return True

    @property
    def timing(self) -> Timing:
        return Timing(origin="cached")

    def wait(self, timeout_s: float, *, known: int | None = None) -> Progress:
        return Progress(self.ids, True)

    def cancel(self) -> None:
        """Nothing is under way."""


class ReplyCache:
    """Replies of one model by source and settings; the one that was asked for least recently makes room.

    Only what is decoded without sampling is kept, since that gives the same reply each time. Safe for many threads.
    """

    def __init__(self, capacity: int) -> None:
        """
        Args:
            capacity: finished replies that are kept; 0 keeps none, and computes equal requests one by one.
        """
        self._capacity = capacity
        self._finished: OrderedDict[Key, array[int]] = OrderedDict()
        self._under_way: dict[Key, Generation] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._finished)

    def key(self, source: Ids[int], settings: DecodingSettings) -> Key | None:
        """What a reply is known by; None for one that is not kept."""
        return None if settings.do_sample or not self._capacity else (array("i", source).tobytes(), settings)

    def find(self, key: Key, *, deadline: float) -> TokenStream | None:
        """The reply, finished or under way, for one who waits until `deadline` on the monotonic clock."""
        with self._lock:
            ids = self._finished.get(key)
            if ids is not None:
                self._finished.move_to_end(key)
                return CachedReply(key[1], ids.tolist())
            generation = self._under_way.get(key)
        return None if generation is None else generation.subscribe(deadline=deadline)

    def begin(self, key: Key, generation: Generation) -> None:
        """Let others who ask for this reply find it."""
        with self._lock:
            self._under_way[key] = generation

    def end(self, key: Key, generation: Generation) -> None:
        """Keep the reply, unless it has failed."""
        with self._lock:
            if self._under_way.get(key) is generation:
                del self._under_way[key]
            if generation.error is None:
                self._finished[key] = array("i", generation.settled)
                self._finished.move_to_end(key)
                if len(self._finished) > self._capacity:
                    self._finished.popitem(last=False)
