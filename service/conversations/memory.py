"""Conversations in memory, gone with the process."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.conversations.conversation import Conversation, Exchange
from service.conversations.store import KEPT_EXCHANGES, WHOLE, Page
from service.errors import ConversationChanged, UnknownConversation


@dataclass(frozen=True)
class _Entry:
    conversation: Conversation
    touched: float


class MemoryStore:
    """See `service.conversations.store.Store`."""

    place = "memory, and gone when the service stops"
    concerns: Sequence[str] = ()

    def __init__(self, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.secret = secrets.token_bytes(32)
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._entries)

    def __contains__(self, conversation_id: str) -> bool:
        with self._lock:
            self._expire()
            return conversation_id in self._entries

    def read(self, conversation_id: str, page: Page = WHOLE) -> Conversation:
        with self._lock:
            self._expire()
            if conversation_id not in self._entries:
                raise UnknownConversation
            conversation = self._entries[conversation_id].conversation
        end = page.end(len(conversation.exchanges))
        exchanges = page.take(conversation.exchanges[index] for index in reversed(range(end)))
        return Conversation(exchanges, conversation.version, end - len(exchanges))

    def find(self, conversation_id: str, key: str) -> Exchange | None:
        with self._lock:
            self._expire()
            entry = self._entries.get(conversation_id)
        exchanges = () if entry is None else entry.conversation.exchanges
        return next((exchange for exchange in exchanges if key in exchange.keys), None)

    def append(self, conversation_id: str, exchange: Exchange, *, version: int, replace: bool = False) -> None:
        with self._lock:
            self._expire()
            entry = self._entries.get(conversation_id)
            if entry is None and version:
                raise UnknownConversation
            current = Conversation() if entry is None else entry.conversation
            if current.version != version:
                raise ConversationChanged
            before = current.exchanges[:-1] if replace else current.exchanges
            numbered = dataclasses.replace(exchange, number=version + 1)
            grown = Conversation((*before, numbered)[-KEPT_EXCHANGES:], version + 1)
            self._entries[conversation_id] = _Entry(grown, self._clock())
            self._entries.move_to_end(conversation_id)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def delete(self, conversation_id: str) -> None:
        with self._lock:
            self._expire()
            if self._entries.pop(conversation_id, None) is None:
                raise UnknownConversation

    def close(self) -> None:
        pass

    def _expire(self) -> None:
        oldest = self._clock() - self._ttl_s
        while self._entries:
            conversation_id, entry = next(iter(self._entries.items()))
            if entry.touched >= oldest:
                return
            del self._entries[conversation_id]
