"""One thread that owns the model and answers requests in the order they came."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from service.errors import DeadlineExceeded, NotReady, Overloaded

logger = logging.getLogger(__name__)


class Generator(Protocol):
    """What the engine needs of a model."""

    def generate(self, source: Sequence[int], *, max_time_s: float) -> list[int]:
        """Token ids of a reply to `source`, start and end tokens included; cut short after `max_time_s` seconds."""
        ...


@dataclass(frozen=True)
class Generation:
    """A finished reply.

    Attributes:
        ids: token ids of the reply, start and end tokens included.
        queue_s: seconds from submission to the start of the work.
        decode_s: seconds of work.
    """

    ids: list[int]
    queue_s: float
    decode_s: float


@dataclass
class _Request:
    source: Sequence[int]
    submitted: float
    deadline: float
    future: Future[Generation] = field(default_factory=Future)


class Engine:
    """Serves a model to many threads.

    Two callers on the model's thread pool would slow each other down, so one thread does all the work.
    """

    def __init__(self, model: Generator, *, queue_size: int) -> None:
        self._model = model
        self._requests: queue.Queue[_Request | None] = queue.Queue()
        self._queue_size = queue_size
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._mean_work_s = 1.0
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def generate(self, source: Sequence[int], *, timeout_s: float) -> Generation:
        """Wait for a reply.

        Args:
            source: token ids of the history, ending in the end token.
            timeout_s: seconds after which the request is dropped and its work stopped.

        Raises:
            Overloaded: too many requests wait already.
            DeadlineExceeded: no reply within `timeout_s`.
            NotReady: the engine was closed.
        """
        now = time.monotonic()
        request = _Request(source, now, now + timeout_s)
        with self._lock:
            if self._closed:
                raise NotReady("The service is shutting down; try again in a moment.")
            if self._waiting >= self._queue_size:
                seconds = max(1, round(self._waiting * self._mean_work_s))
                raise Overloaded(
                    f"Too many requests are waiting; try again in {seconds} seconds.", retry_after_s=seconds
                )
            self._waiting += 1
            self._requests.put(request)
        try:
            return request.future.result(timeout=timeout_s)
        except TimeoutError:
            if request.future.cancel():
                with self._lock:
                    self._waiting -= 1
            raise DeadlineExceeded("There was no reply in time; try again.") from None

    def close(self) -> None:
        """Refuse new requests, finish those that were accepted, and end the thread."""
        with self._lock:
            self._closed = True
        self._requests.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            if request.future.set_running_or_notify_cancel():
                with self._lock:
                    self._waiting -= 1
                self._answer(request)

    def _answer(self, request: _Request) -> None:
        started = time.monotonic()
        try:
            ids = self._model.generate(request.source, max_time_s=max(0.0, request.deadline - started))
        except Exception as error:
            logger.exception("a reply failed")
            request.future.set_exception(error)
            return
        finished = time.monotonic()
        if finished >= request.deadline:
            request.future.set_exception(TimeoutError())
            return
        self._mean_work_s += 0.2 * (finished - started - self._mean_work_s)
        request.future.set_result(Generation(ids, started - request.submitted, finished - started))
