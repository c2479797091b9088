"""One reply to a conversation that its client keeps, while it is written."""

from __future__ import annotations

from typing import Literal

from service.chat.prompt import PromptFormat
from service.chat.stop import StopStrings
from service.engine.generation import ReplyStream, Timing
from service.errors import engine_errors

FinishReason = Literal["stop", "length"]


class Draft:
    """A reply being written.

    Attributes:
        text: what it is certain to begin with; all of it once it is finished.
        tokens: of a finished one, those that were needed: up to the end of a stop string.
        finish_reason: why it ended; None while it goes on.
    """

    def __init__(self, stream: ReplyStream, prompt_format: PromptFormat, stop: StopStrings) -> None:
        self.text = ""
        self.tokens = 0
        self.finish_reason: FinishReason | None = None
        self._stream = stream
        self._format = prompt_format
        self._stop = stop
        self._known = 0

    @property
    def timing(self) -> Timing:
        """Of a finished one."""
        return self._stream.timing

    def read(self, timeout_s: float, *, watch: bool) -> str:
        """Wait for more of it.

        Args:
            timeout_s: longest wait.
            watch: whether to come back as soon as there is more; otherwise when it is finished.

        Returns:
            Text that has become certain.

        Raises:
            ServiceError: there will be no reply.
        """
        with engine_errors():
            ids, done = self._stream.wait(timeout_s, known=self._known if watch else None)
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
