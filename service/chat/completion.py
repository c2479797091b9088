"""Replies to a conversation that its client keeps: nothing is stored, and the client says how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

from service import departure
from service.chat.prompt import PromptFormat
from service.chat.reply_stream import FinishReason, ReplyStream
from service.chat.stop import StopStrings
from service.chat.task import Task, decodings
from service.engine.engine import Engine
from service.errors import engine_errors


class Piece(NamedTuple):
    """More of one reply.

    Attributes:
        choice: which reply, from 0.
        text: what comes next; empty when there is nothing new yet.
        finish_reason: why the reply ends here; None when it goes on.
    """

    choice: int
    text: str
    finish_reason: FinishReason | None


class Completion:
    """The replies of one task: a context manager; to leave it early stops the work.

    Attributes:
        prompt_tokens: tokens that the model reads.
        truncated_turns: oldest turns that did not fit its window.
        truncated_tokens: tokens at the beginning of the newest turn that did not fit it.
        streams: the different replies.
    """

    def __init__(
        self,
        engine: Engine,
        prompt_format: PromptFormat,
        task: Task,
        *,
        timeout_s: float,
        gone: Callable[[], bool] = lambda: False,
        clean: Callable[[str], str] = lambda text: text,
        client: str = "",
    ) -> None:
        """
        Args:
            engine: writes the replies, together.
            prompt_format: of its model.
            task: what is to be written.
            timeout_s: seconds for waiting and work together.
            gone: whether the client has gone away, which ends the work.
            clean: takes from the end of a reply that a stop string cuts within a word what must not be said.
            client: who asks; see `Engine.submit`.

        Raises:
            ServiceError: the engine takes no more.
        """
        prompt = prompt_format.encode(task.turns)
        self.prompt_tokens = len(prompt.ids)
        self.truncated_turns = prompt.truncated_turns
        self.truncated_tokens = prompt.truncated_tokens
        self.streams: list[ReplyStream] = []
        self._stop = StopStrings(task.stop, clean=clean)
        with ExitStack() as stack:
            for settings in decodings(engine.settings, task):
                with engine_errors():
                    tokens = engine.submit(prompt.ids, timeout_s=timeout_s, settings=settings, client=client)
                stack.callback(tokens.cancel)
                self.streams.append(ReplyStream(tokens, prompt_format, self._stop, gone=gone))
            self._resources = stack.pop_all()
        self._copies = task.choices // len(self.streams)

    @property
    def choices(self) -> list[ReplyStream]:
        """The replies as they were asked for, copies among them."""
        return self.streams * self._copies

    def __enter__(self) -> Completion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def pieces(self) -> Iterator[Piece]:
        """Text of the replies as soon as it is certain; joined, the pieces of each are the whole reply.

        Raises:
            ServiceError: a reply has failed.
        """
        return self._read(watch=True)

    def finish(self) -> None:
        """Wait for all replies.

        Raises:
            ServiceError: a reply has failed.
        """
        for _ in self._read(watch=bool(self._stop)):
            pass

    def _read(self, *, watch: bool) -> Iterator[Piece]:
        while unfinished := [index for index, stream in enumerate(self.streams) if stream.finish_reason is None]:
            for index in unfinished:
                stream = self.streams[index]
                # Without a watch all are waited for, in whatever order.
                text = stream.read(departure.POLL_S / len(unfinished) if watch else departure.POLL_S, watch=watch)
                for copy in range(self._copies):
                    yield Piece(index + copy, text, stream.finish_reason)
