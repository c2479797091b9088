"""Messages of one conversation are answered one after the other, in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

from service.errors import Overloaded

# How many times as many messages may wait in one conversation as those of one client.
ALL_CLIENTS = 2


class TurnOrder:
    """One line of waiting messages for each conversation that is being answered. Safe for many threads."""

    def __init__(self, max_waiting: int) -> None:
        """
        Args:
            max_waiting: messages of one client that may wait in one conversation; each takes a thread.
        """
        self._max_waiting = max_waiting
        self._lines: dict[str, deque[Place]] = {}
        self._lock = threading.Lock()

    def join(self, conversation_id: str, client: str = "") -> Place:
        """Stand in line; the place is a context manager that must be left.

        Args:
            conversation_id: whose line.
            client: who stands there; one client cannot take the places of all others.

        Raises:
            Overloaded: the line is full.
        """
        with self._lock:
            line = self._lines.setdefault(conversation_id, deque())
            own = sum(place.client == client for place in line)
            if own > self._max_waiting or len(line) > ALL_CLIENTS * self._max_waiting:
                raise Overloaded(
                    "Too many messages of this conversation are waiting; send the next one when its reply has come."
                )
            place = Place(self, conversation_id, client)
            line.append(place)
            line[0].first.set()
        return place

    def leave(self, place: Place) -> None:
        """Let the next one go ahead."""
        with self._lock:
            line = self._lines[place.conversation_id]
            line.remove(place)
            if line:
                line[0].first.set()
            else:
                del self._lines[place.conversation_id]


class Place:
    """A place in a line.

    Attributes:
        conversation_id: whose line.
        client: who stands there.
        first: set once everyone before it has left.
    """

    def __init__(self, order: TurnOrder, conversation_id: str, client: str) -> None:
        self.conversation_id = conversation_id
        self.client = client
        self.first = threading.Event()
        self._order = order

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._order.leave(self)
