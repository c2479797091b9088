"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stream:
    """What came over one stream.

    Attributes:
        deltas: pieces of text.
        positions: places in the queue that were told.
        done: the object at the end; None when there was none.
        error: the problem that ended it; None when there was none.
        comments: lines that say nothing.
    """

    deltas: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    done: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    comments: int = 0

    @property
    def text(self) -> str:
        return "".join(self.deltas)


def read(content: Iterable[bytes]) -> Stream:
    """Read a whole stream, chunk by chunk as it comes."""
    stream = Stream()
    for block in b"".join(content).decode().split("\n\n"):
        lines = block.split("\n")
        stream.comments += sum(line.startswith(":") for line in lines)
        name = next((line.removeprefix("event: ") for line in lines if line.startswith("event: ")), "")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if not data:
            continue
        value = json.loads("\n".join(data))
        if name == "done":
            stream.done = value
        elif name == "queue":
            stream.positions.append(value["position"])
        elif name == "error":
            stream.error = value
        else:
            assert name == "", name
            stream.deltas.append(value["delta"])
    return stream
