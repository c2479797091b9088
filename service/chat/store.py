"""Where conversations are kept."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.errors import DeadlineExceeded, UnknownConversation

ID_BYTES = 16


def new_id() -> str:
    """A fresh conversation id, 128 random bits: whoever does not know it cannot guess it."""
    return secrets.token_urlsafe(ID_BYTES)


@dataclass
class _Entry:
    turns: list[str] = field(default_factory=list)
    touched: float = 0.0


class MemoryStore:
    """Conversations in memory: bounded in number and age, gone with the process. Safe for many threads."""

    def __init__(self, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lines: dict[str, deque[threading.Event]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._entries)

    def __contains__(self, conversation_id: str) -> bool:
        with self._lock:
            self._expire()
            return conversation_id in self._entries

    def turns(self, conversation_id: str) -> list[str]:
        """Turns of a conversation, oldest first, the user's and the bot's in turn; reading it counts as using it.

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
            return list(entry.turns)

    def append(self, conversation_id: str, *turns: str) -> None:
        """Add turns to a conversation, making it when it is new; the least recently used one makes room."""
        with self._lock:
            self._expire()
            entry = self._entries.setdefault(conversation_id, _Entry())
            entry.turns.extend(turns)
            entry.touched = self._clock()
            self._entries.move_to_end(conversation_id)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation.

        Raises:
            UnknownConversation: there is none of that id.
        """
        self.turns(conversation_id)
        with self._lock:
            self._entries.pop(conversation_id, None)

    @contextmanager
    def turn(self, conversation_id: str, *, timeout_s: float) -> Iterator[None]:
        """Hold a conversation for one exchange, so that its messages are answered in the order they came.

        Raises:
            DeadlineExceeded: an earlier message of the conversation is still being answered after `timeout_s`.
        """
        first = threading.Event()
        with self._lock:
            line = self._lines.setdefault(conversation_id, deque())
            line.append(first)
            line[0].set()
        try:
            if not first.wait(timeout_s):
                raise DeadlineExceeded("An earlier message of this conversation is still being answered; try again.")
            yield
        finally:
            with self._lock:
                line.remove(first)
                if line:
                    line[0].set()
                else:
                    del self._lines[conversation_id]

    def _expire(self) -> None:
        oldest = self._clock() - self._ttl_s
        while self._entries:
            conversation_id, entry = next(iter(self._entries.items()))
            if entry.touched >= oldest:
                return
            del self._entries[conversation_id]
