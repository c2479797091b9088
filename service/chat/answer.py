"""A message being answered: a reply stream and, at its end, a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from service.chat.reply_stream import ReplyStream
from service.conversations.conversation import Exchange
from service.engine.generation import Timing
from service.errors import ConversationChanged


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
class Uncommitted:
    """A reply that is still being written.

    Attributes:
        stream: its text.
        commit: stores the finished reply with its message.
    """

    stream: ReplyStream
    commit: Callable[[ReplyStream], Reply]


class Answer:
    """A message being answered: a context manager; to leave it early stops the work and stores nothing.

    Either `pieces` is read to its end or `reply` is called.
    """

    def __init__(self, resources: ExitStack, source: Reply | Uncommitted) -> None:
        """
        Args:
            resources: what is let go when the answer is closed.
            source: a reply that was stored before, or one that is being written.
        """
        self._resources = resources
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
        return self._source.stream.position if isinstance(self._source, Uncommitted) else 0

    def close(self) -> None:
        """Stop the work, if there still is any, and let the conversation's next message go ahead."""
        self._resources.close()

    def pieces(self) -> Iterator[str]:
        """Text of the reply as soon as it is certain; joined, the pieces are the whole reply.

        The last piece comes when the reply has been stored. An empty one means that there is nothing new yet.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        sent = ""
        while (stream := self._read(watch=True)) is not None:
            yield stream.text[len(sent) :]
            sent = stream.text
        whole = self.reply().exchange.reply
        if not whole.startswith(sent):
            raise ConversationChanged
        yield whole[len(sent) :]

    def reply(self) -> Reply:
        """Wait for the reply and store it with its message.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        while isinstance(self._source, Uncommitted):
            self._read(watch=False)
        return self._source

    def _read(self, *, watch: bool) -> ReplyStream | None:
        """Wait for more, and store the reply when it is finished; None when there is no more to come."""
        source = self._source
        if isinstance(source, Reply):
            return None
        source.stream.read(watch=watch)
        if source.stream.finish_reason is None:
            return source.stream
        self._source = source.commit(source.stream)
        return None
