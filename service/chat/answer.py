"""A message being answered: its reply as a whole or piece by piece, stored before it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from service.conversations.conversation import Exchange
from service.engine.generation import Progress, ReplyStream, Timing
from service.errors import Cancelled, ConversationChanged, engine_errors

# A client that went away is noticed within this time.
GLANCE_S = 0.1


@dataclass(frozen=True)
class Reply:
    """A reply that has been stored.

    Attributes:
        exchange: as stored.
        timing: where its time went; None for one that was stored before.
    """

    exchange: Exchange
    timing: Timing | None


@dataclass(frozen=True)
class Writing:
    """A reply that the engine writes.

    Attributes:
        stream: the tokens.
        certain: what text they are certain to begin with.
        complete: makes all of them a stored reply.
        gone: whether the client has gone away.
    """

    stream: ReplyStream
    certain: Callable[[list[int]], str]
    complete: Callable[[list[int]], Reply]
    gone: Callable[[], bool]

    def wait(self, known: int | None = None) -> Progress:
        """How far it is, a glance later at most; see `ReplyStream.wait`.

        Raises:
            Cancelled: the client has gone away.
        """
        with engine_errors():
            progress = self.stream.wait(GLANCE_S, known=known)
        if self.gone():
            raise Cancelled("The client went away before its reply was complete.")
        return progress


class Answer:
    """A message being answered: a context manager; to leave it early stops the work and stores nothing.

    Either `pieces` is read to its end or `reply` is called.
    """

    def __init__(self, held: ExitStack, source: Reply | Writing) -> None:
        """
        Args:
            held: what is let go when the answer is closed.
            source: a reply that was stored before, or one that is being written.
        """
        self._held = held
        self._source = source
        self.replayed = isinstance(source, Reply)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Its place among those that wait to be answered, 1 for the next one; 0 once it is being answered."""
        return self._source.stream.position if isinstance(self._source, Writing) else 0

    def close(self) -> None:
        """Stop the work, if there still is any, and let the conversation's next message forward."""
        self._held.close()

    def pieces(self) -> Iterator[str]:
        """Text of the reply as soon as it is certain; joined, the pieces are the whole reply.

        The last piece comes when the reply has been stored. An empty one means that there is nothing new yet.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        sent, known = "", 0
        while isinstance(self._source, Writing):
            ids, done = self._source.wait(known)
            if done:
                self._source = self._source.complete(ids)
                break
            known = len(ids)
            text = self._source.certain(ids)
            yield text[len(sent) :]
            sent = max(sent, text, key=len)
        whole = self.reply().exchange.reply
        if not whole.startswith(sent):
            raise ConversationChanged
        yield whole[len(sent) :]

    def reply(self) -> Reply:
        """Wait for the reply and store it with its message.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        while isinstance(self._source, Writing):
            ids, done = self._source.wait()
            if done:
                self._source = self._source.complete(ids)
        return self._source
