"""One thread that owns the model and writes the replies of many requests together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Ids
from typing import Protocol

from service.engine.errors import EngineClosed, EngineError, EngineStopped, UnsupportedSetting
from service.engine.forbidden import Forbidden
from service.engine.generation import Generation, TokenStream
from service.engine.lane import Steps
from service.engine.reply_cache import Key, ReplyCache
from service.engine.scheduler import Scheduler
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings

logger = logging.getLogger(__name__)


class Model(Protocol):
    """What the engine needs of a model; see `service.engine.chat_model.ChatModel`."""

    @property
    def settings(self) -> DecodingSettings: ...

    def batch(self) -> Steps: ...


class Engine:
    """Serves a model to many threads.

    Two callers on the model's thread pool would slow each other down, so one thread does all the work. It sleeps while
    there is nothing to do. Should it ever die, every request fails, `alive` turns false and `on_death` is called: the
    state of the model is not known then, and the process should end.
    """

    def __init__(
        self,
        model: Model,
        *,
        queue_size: int,
        max_rows: int,
        reply_cache: int = 0,
        forbidden: Forbidden | None = None,
        on_death: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            model: in memory.
            queue_size: requests that may wait for rows.
            max_rows: rows (beams times requests) of one step.
            reply_cache: finished replies that are kept for who asks the same again; with 0, equal requests are
                computed one by one.
            forbidden: what no reply may hold; None for nothing.
            on_death: called with one sentence, from the dying thread.
        """
        self._settings = model.settings
        self._scheduler = Scheduler(model.batch, max_rows=max_rows, max_waiting=queue_size)
        self._cache = ReplyCache(reply_cache)
        self._forbidden = forbidden
        self._on_death = on_death
        self._closed = False
        self._dead = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def settings(self) -> DecodingSettings:
        """How the model decodes by itself."""
        return self._settings

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return not self._dead

    @property
    def waiting(self) -> int:
        """Requests that wait for rows."""
        return self._scheduler.waiting

    @property
    def running(self) -> int:
        """Requests whose replies are being written."""
        return self._scheduler.running

    @property
    def rows(self) -> int:
        """Rows (beams times requests) that the running replies take."""
        return self._scheduler.rows

    @property
    def cached(self) -> int:
        """Finished replies that are kept."""
        return len(self._cache)

    @property
    def retry_after_s(self) -> int:
        """Seconds after which a refused request should come again."""
        return self._scheduler.retry_after_s

    def submit(
        self, source: Ids[int], *, timeout_s: float, settings: DecodingSettings | None = None, client: str = ""
    ) -> TokenStream:
        """Ask for a reply.

        Args:
            source: token ids of the history, ending in the end token.
            timeout_s: seconds after which the request is dropped and its work stopped.
            settings: how it is decoded, no longer than by the model's own; None takes those.
            client: who asks; the requests of one client do not keep those of others waiting.

        Raises:
            Overloaded: too many requests wait already.
            EngineClosed: it takes no more requests.
            EngineStopped: its thread has died.
            UnsupportedSetting: a reply longer than the model's own.
        """
        settings = settings or self._settings
        if settings.max_length > self._settings.max_length:
            raise UnsupportedSetting(f"max_length may be {self._settings.max_length} at most for this model.")
        deadline = time.monotonic() + timeout_s
        with self._wake:
            if self._dead:
                raise EngineStopped("The engine has stopped; the service must be started again.")
            if self._closed:
                raise EngineClosed("The service is shutting down; try again in a moment.")
            key = self._cache.key(source, settings)
            stream = None if key is None else self._cache.find(key, deadline=deadline)
            return stream or self._begin(Sequence(list(source), settings, self._forbidden), key, deadline, client)

    def _begin(self, sequence: Sequence, key: Key | None, deadline: float, client: str) -> TokenStream:
        """Let a reply be computed, and found meanwhile by its key."""
        cache = self._cache
        if key is None:
            generation = Generation(sequence, client=client)
        else:
            generation = Generation(sequence, client=client, on_end=lambda ended: cache.end(key, ended))
            cache.begin(key, generation)
        stream = generation.subscribe(deadline=deadline)
        assert stream is not None
        try:
            self._scheduler.submit(generation)
        except EngineError as error:
            generation.fail(error)
            raise
        self._wake.notify()
        return stream

    def close(self) -> None:
        """Refuse new requests, finish those that were accepted, and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._has_work():
                self._advance()
        except BaseException as error:
            logger.critical("the engine's thread died", exc_info=error)
            with self._wake:
                self._dead = True
            self._scheduler.fail_all(lambda: EngineStopped("The engine stopped before the reply was complete."))
            self._on_death(f"The engine stopped ({type(error).__name__}: {error}).")

    def _has_work(self) -> bool:
        """Sleep until there is something to do; False when there will never be."""
        scheduler = self._scheduler
        with self._wake:
            self._wake.wait_for(lambda: scheduler.waiting or scheduler.running or self._closed)
            return bool(scheduler.waiting or scheduler.running)

    def _advance(self) -> None:
        try:
            self._scheduler.advance()
        except Exception:
            logger.exception("a step failed, and with it the replies in it")
