"""A visitor of a chat server: one message goes out, and what came of it is noted, whatever it was."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from benchmarks.event_stream import Event, EventParser

PIECE_BYTES = 65536
DETAIL_CHARS = 200

TIMEOUT = "timeout"
CONNECTION = "connection"
MALFORMED = "malformed reply"
STREAM = "broken stream"
LENGTH = "wrong length"


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it.

    Attributes:
        start_s: when it was due, in seconds after its run began.
        seconds: from then to the end of the reply, or to the failure.
        first_text_s: from then to the first text of a stream; None where there was none.
        tokens: of the reply, as the server counts them; None without a count.
        prompt_tokens: that the model read, as the server counts them; None without a count.
        status: of the HTTP response; None without one.
        error: kind of failure, such as `HTTP 503`; "" for a reply that is as it should be.
        detail: the failure in words.
    """

    start_s: float
    seconds: float
    first_text_s: float | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    status: int | None = None
    error: str = ""
    detail: str = ""


class _Failure(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass
class _Seen:
    """What has come of a request so far; `first_text` is a moment of `time.perf_counter`."""

    status: int | None = None
    first_text: float | None = None
    text: list[str] = field(default_factory=list)
    tokens: int | None = None
    prompt_tokens: int | None = None


@dataclass(frozen=True)
class Client:
    """Asks one server, each time on a connection of its own and in a conversation of its own.

    Attributes:
        host: address of the server.
        port: TCP port of the server.
        prompt_tokens: what the server must say the model has read.
        reply_tokens: what the server must say the reply has; another number is an error.
        timeout_s: seconds from the moment a request is due to the last byte of its reply.
        stream: ask for server-sent events in place of one JSON object.
    """

    host: str
    port: int
    prompt_tokens: int
    reply_tokens: int
    timeout_s: float
    stream: bool = False

    def ask(self, prompt: str, began: float, due: float) -> Exchange:
        """Send one message and wait for the reply; nothing that goes wrong is raised.

        Args:
            prompt: the message.
            began: when the run began, a moment of `time.perf_counter`.
            due: when the request was due; what has passed since counts.
        """
        seen, kind, detail = _Seen(), "", ""
        try:
            self._converse(prompt, due + self.timeout_s, seen)
        except _Failure as failure:
            kind, detail = failure.kind, str(failure)
        except TimeoutError:
            kind, detail = TIMEOUT, f"no reply within {self.timeout_s:g} s"
        except (OSError, HTTPException) as error:
            kind, detail = CONNECTION, f"{type(error).__name__}: {error}"
        return Exchange(
            start_s=due - began,
            seconds=time.perf_counter() - due,
            first_text_s=None if seen.first_text is None else seen.first_text - due,
            tokens=seen.tokens,
            prompt_tokens=seen.prompt_tokens,
            status=seen.status,
            error=kind,
            detail=detail[:DETAIL_CHARS],
        )

    def _converse(self, prompt: str, deadline: float, seen: _Seen) -> None:
        body = {"prompt": prompt, "stream": True} if self.stream else {"prompt": prompt}
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.stream else "application/json",
        }
        with closing(HTTPConnection(self.host, self.port, timeout=_left(deadline))) as connection:
            connection.request("POST", "/chatbot", json.dumps(body), headers)
            wire: socket.socket = connection.sock
            wire.settimeout(_left(deadline))
            with closing(connection.getresponse()) as response:
                seen.status = response.status
                pieces = _pieces(response, wire, deadline)
                if response.status != 200:
                    raise _Failure(f"HTTP {response.status}", _problem(b"".join(pieces)))
                reply = _streamed(response, pieces, seen) if self.stream else _parsed(b"".join(pieces), MALFORMED)
        self._check(reply, seen)

    def _check(self, reply: dict[str, Any], seen: _Seen) -> None:
        try:
            text, usage = reply["reply"], reply["usage"]
            seen.tokens, seen.prompt_tokens = int(usage["completion_tokens"]), int(usage["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise _Failure(MALFORMED, f"no reply with usage: {json.dumps(reply)}") from error
        if self.stream and "".join(seen.text) != text:
            raise _Failure(STREAM, "the pieces joined are not the reply")
        if seen.tokens != self.reply_tokens:
            raise _Failure(LENGTH, f"a reply of {seen.tokens} tokens where {self.reply_tokens} were expected")
        if seen.prompt_tokens != self.prompt_tokens:
            raise _Failure(LENGTH, f"a prompt of {seen.prompt_tokens} tokens where {self.prompt_tokens} were sent")


def _left(deadline: float) -> float:
    left = deadline - time.perf_counter()
    if left <= 0:
        raise TimeoutError
    return left


def _pieces(response: HTTPResponse, wire: socket.socket, deadline: float) -> Iterator[bytes]:
    """The body as it comes; no piece is waited for past the deadline."""
    while True:
        wire.settimeout(_left(deadline))
        piece = response.read1(PIECE_BYTES)
        if not piece:
            return
        yield piece


def _streamed(response: HTTPResponse, pieces: Iterator[bytes], seen: _Seen) -> dict[str, Any]:
    """Read a stream to its last event, which holds the reply."""
    kind = response.headers.get_content_type()
    if kind != "text/event-stream":
        raise _Failure(STREAM, f"{kind} in place of an event stream")
    parser = EventParser()
    for piece in pieces:
        for event in parser.feed(piece):
            if event.name == "done":
                return _parsed(event.data.encode(), STREAM)
            _note(event, seen)
    raise _Failure(STREAM, "the stream ended before its last event")


def _note(event: Event, seen: _Seen) -> None:
    if event.name == "error":
        raise _Failure(STREAM, _problem(event.data.encode()))
    delta = _parsed(event.data.encode(), STREAM).get("delta")
    if delta and seen.first_text is None:
        seen.first_text = time.perf_counter()
    seen.text.append(str(delta or ""))


def _parsed(body: bytes, kind: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _Failure(kind, f"no JSON object: {body.decode(errors='replace')}")
    return content


def _problem(body: bytes) -> str:
    """What a server says of an error: the `detail` of a JSON object, else the text."""
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text
