"""What a client is asked to do and what it tells of it; needs nothing but Python, since it runs where the client is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Task:
    """What a client is to do.

    Attributes:
        base_url: of the service, as clients of OpenAI's API take it.
        texts: what the user says, turn by turn.
        long: a message that is refused.
    """

    base_url: str
    texts: list[str]
    long: str


@dataclass(frozen=True)
class Talk:
    """What became of it.

    Attributes:
        turns: the replies of one conversation.
        pieces: the reply to the first text, as it came in a stream.
        error: what the client says of the message that is refused.
    """

    turns: list[str]
    pieces: list[str]
    error: str


def task() -> Task:
    """What is to be done, from the command line."""
    return Task(**json.loads(sys.argv[1]))


def tell(turns: Iterable[str], pieces: Iterable[str], error: str) -> None:
    """Tell what became of it, in the last line of stdout."""
    print("\n" + json.dumps(asdict(Talk(list(turns), list(pieces), error))))


def growth(texts: Iterable[str]) -> Iterator[str]:
    """The pieces of a text that is told anew each time that it grows."""
    known = ""
    for text in texts:
        assert text.startswith(known), (known, text)
        yield text[len(known) :]
        known = text


def named(error: BaseException) -> str:
    """An error with the name of its class."""
    return f"{type(error).__name__}: {error}"
