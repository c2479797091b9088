"""One reply under way, between the threads that asked for it and the engine's thread that writes it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from service.engine.errors import Cancelled, DeadlineExceeded
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings

# Computed for this request, for another one that asked the same at the same time, or earlier.
Origin = Literal["computed", "shared", "cached"]


@dataclass(frozen=True)
class Timing:
    """Where the time of a reply went, in seconds; what happened before it was asked for takes none.

    Attributes:
        queue_s: waiting for a place in the running batch.
        encode_s: the encoder.
        decode_s: from there to the last token, beside other replies.
        first_token_s: from the beginning of the wait to the first token.
        origin: who had it computed.
    """

    queue_s: float = 0.0
    encode_s: float = 0.0
    decode_s: float = 0.0
    first_token_s: float = 0.0
    origin: Origin = "computed"


class Progress(NamedTuple):
    """How far a reply is.

    Attributes:
        ids: tokens that the finished reply is certain to begin with, start token first; all once it is done.
        done: whether it is.
    """

    ids: list[int]
    done: bool


class TokenStream(Protocol):
    """The tokens of a reply, for the one who asked for it."""

    @property
    def settings(self) -> DecodingSettings:
        """How it is decoded."""

    @property
    def position(self) -> int:
        """Its place among the requests that wait, as things stand, 1 for the next one; 0 once it has begun."""

    @property
    def done(self) -> bool:
        """Whether the reply is complete or has failed."""

    @property
    def timing(self) -> Timing:
        """Of a reply that is done or was cancelled."""

    def wait(self, timeout_s: float, *, known: int | None = None) -> Progress:
        """Wait until the reply is done, or for more of it.

        Args:
            timeout_s: longest wait.
            known: come back as soon as more than so many tokens are settled; None waits for the end.

        Raises:
            EngineError: the reply failed, came too late, or was cancelled.
        """

    def cancel(self) -> None:
        """Give it up; this does nothing once it is done."""


class Generation:
    """A reply that the engine has accepted, for all who asked for it.

    The threads that ask hold a `Subscription` each; the engine's thread calls the rest. The work goes on while one of
    them is there and has time.
    """

    def __init__(
        self, sequence: Sequence, *, client: str = "", on_end: Callable[[Generation], None] = lambda _: None
    ) -> None:
        """
        Args:
            sequence: source and settings.
            client: who asked first; the work is counted as theirs.
            on_end: called when the reply is complete or has failed, before those that wait are notified.
        """
        self.sequence = sequence
        self.client = client
        self.position = 0
        self.work_s = 0.0
        self.begun = self.encoded = self.first_token = self.ended = time.monotonic()
        self.settled: list[int] = []
        self.error: Exception | None = None
        self.done = False
        self.watched = False
        self.change = threading.Condition()
        self._subscriptions: list[Subscription] = []
        self._abandoned = False
        self._on_end = on_end

    @property
    def rows(self) -> int:
        """Rows that it takes of each step."""
        return self.sequence.settings.num_beams

    @property
    def shared(self) -> bool:
        """Whether more than one wait for it."""
        return len(self._subscriptions) > 1

    def subscribe(self, *, deadline: float) -> Subscription | None:
        """Ask for this reply too; None when it has failed or been given up.

        Args:
            deadline: on the monotonic clock.
        """
        with self.change:
            if self._abandoned or self.error is not None:
                return None
            subscription = Subscription(self, deadline=deadline)
            self._subscriptions.append(subscription)
            return subscription

    def leave(self, subscription: Subscription) -> None:
        """Take back a subscription, with `change` held."""
        self._subscriptions.remove(subscription)

    def is_first(self, subscription: Subscription) -> bool:
        """Whether it is the oldest one there: the work is counted as its own."""
        return self._subscriptions[:1] == [subscription]

    def abandon(self, now: float) -> bool:
        """Whether all have left or run out of time; nobody can subscribe from then on."""
        with self.change:
            self._abandoned = self._abandoned or all(other.deadline <= now for other in self._subscriptions)
            return self._abandoned

    def begin(self) -> None:
        """Note that the encoder starts."""
        self.begun = self.encoded = self.first_token = time.monotonic()

    def note_encoded(self) -> None:
        """Note that the encoder is through."""
        self.encoded = time.monotonic()
        self.work_s += self.encoded - self.begun

    def advanced(self, seconds: float) -> None:
        """Note one more token, and show those that are settled by now, if anyone has asked for them.

        Args:
            seconds: the reply's share of the step.
        """
        self.work_s += seconds
        if self.first_token <= self.encoded:
            self.first_token = time.monotonic()
        if not self.watched:
            return
        settled = self.sequence.settled
        if len(settled) > len(self.settled):
            with self.change:
                self.settled = settled
                self.change.notify_all()

    def finish(self) -> None:
        """Hand over the finished reply."""
        self._end(None)

    def fail(self, error: Exception) -> None:
        """End without a reply."""
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        with self.change:
            if self.done:
                return
            self.ended = time.monotonic()
            self.error = error
            if error is None:
                self.settled = self.sequence.result
            self._on_end(self)
            self.done = True
            self.change.notify_all()


class Subscription:
    """The reply of a `Generation` for one of those who asked for it; a `TokenStream`."""

    def __init__(self, generation: Generation, *, deadline: float) -> None:
        """
        Args:
            generation: the work.
            deadline: on the monotonic clock; this one waits no longer.
        """
        self.deadline = deadline
        self._generation = generation
        self._submitted = time.monotonic()
        self._cancelled: float | None = None
        self._first = False

    @property
    def settings(self) -> DecodingSettings:
        return self._generation.sequence.settings

    @property
    def position(self) -> int:
        return self._generation.position

    @property
    def done(self) -> bool:
        return self._generation.done

    @property
    def timing(self) -> Timing:
        work, start = self._generation, self._submitted
        ended = work.ended if self._cancelled is None else self._cancelled
        begun, encoded, first_token = (max(start, moment) for moment in (work.begun, work.encoded, work.first_token))
        return Timing(
            queue_s=begun - start,
            encode_s=encoded - begun,
            decode_s=max(0.0, ended - encoded),
            first_token_s=first_token - start,
            origin="computed" if self._first or work.is_first(self) else "shared",
        )

    def wait(self, timeout_s: float, *, known: int | None = None) -> Progress:
        work = self._generation
        with work.change:
            work.watched = work.watched or known is not None
            work.change.wait_for(
                lambda: work.done or self._cancelled is not None or (known is not None and len(work.settled) > known),
                max(0.0, min(timeout_s, self.deadline - time.monotonic())),
            )
            if self._cancelled is not None:
                raise Cancelled("The client went away before its reply was complete.")
            if work.error is not None:
                raise copy.copy(work.error) from work.error
            if not work.done and time.monotonic() >= self.deadline:
                raise DeadlineExceeded("There was no reply in time; try again.")
            return Progress(work.settled, work.done)

    def cancel(self) -> None:
        with self._generation.change:
            if not self._generation.done and self._cancelled is None:
                self._cancelled = time.monotonic()
                self._first = self._generation.is_first(self)
                self._generation.leave(self)
                self._generation.change.notify_all()
