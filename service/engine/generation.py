"""One reply under way, between the thread that asked for it and the engine's thread that writes it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from service.engine.sequence import Sequence


@dataclass(frozen=True)
class Timing:
    """Where the time of a reply went, in seconds.

    Attributes:
        queue_s: waiting for a place in the running batch.
        encode_s: the encoder.
        decode_s: from there to the last token, beside other replies.
        first_token_s: from the beginning of the wait to the first token.
    """

    queue_s: float
    encode_s: float
    decode_s: float
    first_token_s: float


class Progress(NamedTuple):
    """How far a reply is.

    Attributes:
        ids: tokens that the finished reply is certain to begin with, start token first; all once it is done.
        done: whether it is.
    """

    ids: list[int]
    done: bool


class Generation:
    """A reply that the engine has accepted.

    The thread that asked calls `wait` and `cancel`; the engine's thread calls the rest.
    """

    def __init__(self, sequence: Sequence, *, deadline: float) -> None:
        """
        Args:
            sequence: source and settings.
            deadline: on the monotonic clock; work on the reply stops then.
        """
        self.sequence = sequence
        self.deadline = deadline
        self.cancelled = False
        self.work_s = 0.0
        self._submitted = time.monotonic()
        self._begun = self._encoded = self._first_token = self._ended = self._submitted
        self._settled: list[int] = []
        self._error: Exception | None = None
        self._done = False
        self._watched = False
        self._change = threading.Condition()

    @property
    def done(self) -> bool:
        """Whether the reply is complete or has failed."""
        return self._done

    @property
    def timing(self) -> Timing:
        """Of a reply that is done or was cancelled."""
        return Timing(
            self._begun - self._submitted,
            self._encoded - self._begun,
            self._ended - self._encoded,
            self._first_token - self._submitted,
        )

    def wait(self, timeout_s: float, *, known: int | None = None) -> Progress:
        """Wait until the reply is done, or for more of it.

        Args:
            timeout_s: longest wait.
            known: come back as soon as more than so many tokens are settled; None waits for the end.

        Raises:
            ServiceError: the reply failed.
        """
        with self._change:
            self._watched = self._watched or known is not None
            self._change.wait_for(
                lambda: self._done or (known is not None and len(self._settled) > known), max(0.0, timeout_s)
            )
            if self._error is not None:
                raise self._error
            return Progress(self._settled, self._done)

    def cancel(self) -> None:
        """Let the engine drop the reply before its next step; nothing happens to one that is done."""
        with self._change:
            if not self._done:
                self.cancelled = True
                self._ended = time.monotonic()

    def begin(self) -> None:
        """Note that the encoder starts."""
        self._begun = self._encoded = self._first_token = time.monotonic()

    def encoded(self) -> None:
        """Note that the encoder is through."""
        self._encoded = time.monotonic()
        self.work_s += self._encoded - self._begun

    def advanced(self, seconds: float) -> None:
        """Note one more token, and show those that are settled by now, if anyone has asked for them.

        Args:
            seconds: the reply's share of the step.
        """
        self.work_s += seconds
        if self._first_token <= self._encoded:
            self._first_token = time.monotonic()
        if not self._watched:
            return
        settled = self.sequence.settled
        if len(settled) > len(self._settled):
            with self._change:
                self._settled = settled
                self._change.notify_all()

    def finish(self) -> None:
        """Hand over the finished reply."""
        self._end(None)

    def fail(self, error: Exception) -> None:
        """End without a reply."""
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        with self._change:
            if self._done:
                return
            self._ended = time.monotonic()
            self._error = error
            if error is None:
                self._settled = self.sequence.result
            self._done = True
            self._change.notify_all()
