"""The WSGI application on an ASGI server, with news of clients that went away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote_from_bytes
from wsgiref.types import StartResponse, WSGIApplication

from a2wsgi import WSGIMiddleware
from a2wsgi.asgi_typing import HTTPScope, Receive, ReceiveEvent, Scope, Send, SendEvent

from service.departure import DISCONNECTED
from service.serving.connections import SENDING_TIMEOUT_S

GONE = "chatbot.gone"
END: ReceiveEvent = {"type": "http.disconnect"}
VISIBLE = bytes(range(0x21, 0x7F))


class Bridge:
    """An ASGI application around a WSGI one, which learns of a client that went away as it does from waitress.

    A request that the server cancels is over for the server at once; the thread that answers it finds its client gone
    and ends by itself, and what it still says goes nowhere.
    """

    def __init__(
        self, app: WSGIApplication, *, threads: int, max_body_bytes: int, without: frozenset[bytes] = frozenset()
    ) -> None:
        """
        Args:
            app: the application.
            threads: requests that are answered at once; further ones wait.
            max_body_bytes: bytes of a body after which the rest is not kept.
            without: headers of replies, in lower case, that are left to the server.
        """
        self._app = WSGIMiddleware(_with_departure(app), workers=threads)
        self._max_body_bytes = max_body_bytes
        self._without = without
        self._answering: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gone = threading.Event()
        parts: asyncio.Queue[ReceiveEvent] = asyncio.Queue()

        def leave() -> None:
            gone.set()
            parts.put_nowait(END)

        async def listen() -> None:
            """Take in what comes. When that ends, so does the body, and the client is gone, unless it was too slow."""
            size = 0
            try:
                async with asyncio.timeout(SENDING_TIMEOUT_S) as patience:
                    while (event := await receive())["type"] == "http.request":
                        # What comes once the limit is passed is not kept.
                        parts.put_nowait(event if size <= self._max_body_bytes else {**event, "body": b""})
                        size += len(event.get("body", b""))
                        if not event.get("more_body"):
                            patience.reschedule(None)
            except TimeoutError:
                parts.put_nowait(END)
                return
            except BaseException:
                leave()
                raise
            leave()

        async def say(event: SendEvent) -> None:
            if event["type"] == "http.response.start":
                headers = [header for header in event.get("headers", ()) if header[0] not in self._without]
                event = {**event, "headers": headers}
            if not gone.is_set():
                await send(event)

        listening = asyncio.create_task(listen())
        answering = asyncio.create_task(self._app(_readable(scope, gone), parts.get, say))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        answering.add_done_callback(lambda _: listening.cancel())
        try:
            await asyncio.shield(answering)
        except asyncio.CancelledError:
            leave()
            raise


def _readable(scope: HTTPScope, gone: threading.Event) -> HTTPScope:
    """The scope with what the application is told, and a query of ASCII characters."""
    query = quote_from_bytes(scope["query_string"], safe=VISIBLE)
    return cast(HTTPScope, {**scope, "query_string": query.encode(), GONE: gone})


def _with_departure(app: WSGIApplication) -> Any:
    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ[DISCONNECTED] = environ["asgi.scope"][GONE].is_set
        # Bodies without a Content-Length have their end too.
        environ["wsgi.input_terminated"] = True
        return app(environ, start_response)

    return application
