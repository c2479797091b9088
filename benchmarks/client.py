"""A visitor of a chat server: one message goes out, and what came of it is noted, whatever it was."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from benchmarks.schema import Exchange

CHUNK_BYTES = 65536
DETAIL_CHARS = 200


class Failure(Exception):
    """A reply that is not as it should be: its kind, and details in words."""

    def __init__(self, kind: str, detail: str, **counted: int) -> None:
        super().__init__(detail)
        self.kind = kind
        self.counted = counted


@dataclass(frozen=True)
class Client:
    """Asks one server, each time on a connection of its own and in a conversation of its own.

    Attributes:
        host, port: of the server.
        prompt_tokens, reply_tokens: what the server must say the model has read and the reply has.
        timeout_s: seconds from the moment a request is due to the last byte of its reply.
    """

    host: str
    port: int
    prompt_tokens: int
    reply_tokens: int
    timeout_s: float

    def ask(self, prompt: str, began: float, due: float) -> Exchange:
        """Send one message and wait for the reply; nothing that goes wrong is raised.

        Args:
            prompt: the message.
            began, due: when the run began and the request was due, moments of `time.perf_counter`; it counts from then.
        """
        status, kind, detail, counted = None, "", "", {}
        try:
            status, body = self._post(prompt, due + self.timeout_s)
            if status != 200:
                raise Failure(f"HTTP {status}", _problem(body))
            counted = self._checked(body)
        except Failure as failure:
            kind, detail, counted = failure.kind, str(failure), failure.counted
        except TimeoutError:
            kind, detail = "timeout", f"no reply within {self.timeout_s:g} s"
        except (OSError, HTTPException) as error:
            kind, detail = "connection", f"{type(error).__name__}: {error}"
        return Exchange(
            start_s=due - began,
            seconds=time.perf_counter() - due,
            status=status,
            error=kind,
            detail=detail[:DETAIL_CHARS],
            **counted,
        )

    def _post(self, prompt: str, deadline: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with closing(HTTPConnection(self.host, self.port, timeout=_left(deadline))) as connection:
            connection.request("POST", "/chatbot", json.dumps({"prompt": prompt}), headers)
            wire: socket.socket = connection.sock
            wire.settimeout(_left(deadline))
            with closing(connection.getresponse()) as response:
                return response.status, b"".join(_chunks(response, wire, deadline))

    def _checked(self, body: bytes) -> dict[str, Any]:
        """The tokens that the server counted."""
        try:
            reply = json.loads(body)
            usage = reply["usage"]
            tokens, prompt_tokens = int(usage["completion_tokens"]), int(usage["prompt_tokens"])
            assert isinstance(reply["reply"], str)
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise Failure("malformed reply", f"no reply with usage: {body.decode(errors='replace')}") from error
        counted = {"tokens": tokens, "prompt_tokens": prompt_tokens}
        if tokens != self.reply_tokens:
            text = f"a reply of {tokens} tokens where {self.reply_tokens} were expected"
            raise Failure("wrong length", text, **counted)
        if prompt_tokens != self.prompt_tokens:
            text = f"a prompt of {prompt_tokens} tokens where {self.prompt_tokens} were sent"
            raise Failure("wrong length", text, **counted)
        return counted


def _left(deadline: float) -> float:
    left = deadline - time.perf_counter()
    if left <= 0:
        raise TimeoutError
    return left


def _chunks(response: HTTPResponse, wire: socket.socket, deadline: float) -> Iterator[bytes]:
    """The body as it comes; none of it is waited for past the deadline."""
    while True:
        wire.settimeout(_left(deadline))
        chunk = response.read1(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _problem(body: bytes) -> str:
    """What a server says of an error: the `detail` of a JSON object, else the text."""
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text
