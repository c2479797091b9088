"""Where conversations are kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from service.chat.conversation import Exchange, new_id
from service.errors import UnknownConversation

# The model reads a few of the latest; the rest is there to be read back.
KEPT_EXCHANGES = 500


@dataclass
class _Entry:
    exchanges: list[Exchange] = field(default_factory=list)
    touched: float = 0.0


class MemoryStore:
    """Conversations in memory: bounded in number and age, gone with the process. Safe for many threads."""

    def __init__(self, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._opened: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._entries)

    def __contains__(self, conversation_id: str) -> bool:
        with self._lock:
            self._expire()
            return conversation_id in self._entries

    def exchanges(self, conversation_id: str) -> list[Exchange]:
        """Exchanges of a conversation, oldest first; reading it counts as using it.

        Raises:
            UnknownConversation: there is none of that id.
        """
        with self._lock:
            self._expire()
            if conversation_id not in self._entries:
                raise UnknownConversation(
                    "There is no conversation with that id (it may have expired); leave the id out to start a new one."
                )
            entry = self._entries[conversation_id]
            entry.touched = self._clock()
            self._entries.move_to_end(conversation_id)
            return list(entry.exchanges)

    def append(self, conversation_id: str, exchange: Exchange, *, create: bool = True) -> None:
        """Add to a conversation, of which the last `KEPT_EXCHANGES` are kept.

        Args:
            conversation_id: of any conversation.
            exchange: what was said.
            create: make the conversation when there is none, the least recently used one giving way; without it,
                nothing is stored then.
        """
        with self._lock:
            self._expire()
            if not create and conversation_id not in self._entries:
                return
            entry = self._entries.setdefault(conversation_id, _Entry())
            entry.exchanges.append(exchange)
            del entry.exchanges[:-KEPT_EXCHANGES]
            entry.touched = self._clock()
            self._entries.move_to_end(conversation_id)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation.

        Raises:
            UnknownConversation: there is none of that id.
        """
        self.exchanges(conversation_id)
        with self._lock:
            self._entries.pop(conversation_id, None)

    def opened_by(self, key: str) -> str:
        """The id of the conversation that a request of this key opens: a fresh one the first time, then the same.

        Args:
            key: the client's name for the request; as hard to guess as an id, since it stands for one.
        """
        with self._lock:
            conversation_id = self._opened.pop(key, None) or new_id()
            self._opened[key] = conversation_id
            while len(self._opened) > self._capacity:
                self._opened.popitem(last=False)
            return conversation_id

    def _expire(self) -> None:
        oldest = self._clock() - self._ttl_s
        while self._entries:
            conversation_id, entry = next(iter(self._entries.items()))
            if entry.touched >= oldest:
                return
            del self._entries[conversation_id]
