"""The text of one reply while it is written: its tokens decoded as far as they are certain, up to a stop string."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from service import departure
from service.chat.prompt import PromptFormat
from service.chat.stop import StopStrings
from service.engine.generation import Timing, TokenStream
from service.errors import engine_errors

FinishReason = Literal["stop", "length"]
NO_STOP_STRINGS = StopStrings(())


class ReplyStream:
    """A reply being written.

    Attributes:
        text: what it is certain to begin with; all of it once it is finished.
        tokens: of a finished one, those that were needed: up to the end of a stop string.
        finish_reason: why it ended; None while it goes on.
    """

    def __init__(
        self,
        tokens: TokenStream,
        prompt_format: PromptFormat,
        stop: StopStrings = NO_STOP_STRINGS,
        *,
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            tokens: of the engine.
            prompt_format: of its model.
            stop: strings that end the reply.
            gone: whether the client has gone away.
        """
        self.text = ""
        self.tokens = 0
        self.finish_reason: FinishReason | None = None
        self._stream = tokens
        self._format = prompt_format
        self._stop = stop
        self._gone = gone
        self._known = 0

    @property
    def position(self) -> int:
        """Its place among those that wait to be written, 1 for the next one; 0 once it has begun."""
        return self._stream.position

    @property
    def timing(self) -> Timing:
        """Of a finished one."""
        return self._stream.timing

    def read(self, timeout_s: float = departure.POLL_S, *, watch: bool) -> str:
        """Wait for more of it.

        Args:
            timeout_s: longest wait.
            watch: whether to come back as soon as there is more; otherwise when it is finished.

        Returns:
            Text that has become certain.

        Raises:
            Cancelled: the client has gone away.
            ServiceError: there will be no reply.
        """
        with engine_errors():
            ids, done = self._stream.wait(timeout_s, known=self._known if watch else None)
        departure.check(self._gone)
        if len(ids) == self._known and not done:
            return ""
        self._known = len(ids)
        sent = len(self.text)
        text = self._format.decode(ids) if done else self._format.certain(ids)
        cut = self._stop.cut(text)
        if cut is not None:
            self._stream.cancel()
            self._end(cut, self._up_to_stop(ids), "stop")
        elif done:
            length = len(ids) >= self._stream.settings.max_length
            self._end(text, ids, "length" if length else "stop")
        else:
            self.text = max(self.text, self._stop.held_back(text), key=len)
        return self.text[sent:]

    def _end(self, text: str, ids: list[int], reason: FinishReason) -> None:
        self.text = text
        self.tokens = self._format.count(ids)
        self.finish_reason = reason

    def _up_to_stop(self, ids: list[int]) -> list[int]:
        return next(
            (ids[:size] for size in range(len(ids)) if self._stop.cut(self._format.decode(ids[:size])) is not None), ids
        )
