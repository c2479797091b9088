"""Server-sent events as they come over a connection, piece by piece."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event; `name` is `message` where the stream gives none."""

    name: str
    data: str


class EventParser:
    """Turns pieces of a `text/event-stream` into events, wherever the pieces were cut.

    Follows the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html), except that a lone
    carriage return does not end a line; ids and retry times are passed over.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = (self._line(line.removesuffix(b"\r").decode(errors="replace")) for line in lines)
        return [event for event in found if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        return None
