"""A visitor of a chat server: it sends one message and records the outcome, whatever that is."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from benchmarks.schema import Exchange

CHUNK_BYTES = 65536
DETAIL_CHARS = 200


@dataclass(frozen=True)
class Client:
    """Asks one server, each time on a connection of its own and in a conversation of its own.

    Attributes:
        host, port: of the server.
        prompt_tokens, reply_tokens: what the server must say the model has read and the reply has.
        timeout_s: seconds from the moment a request is sent to the last byte of its reply.
    """

    host: str
    port: int
    prompt_tokens: int
    reply_tokens: int
    timeout_s: float

    def ask(self, prompt: str, began: float) -> Exchange:
        """Send one message and wait for the reply; nothing that goes wrong is raised.

        `began` is when the run began, a moment of `time.perf_counter`.
        """
        status: int | None = None
        counted: dict[str, int] = {}
        sent = time.perf_counter()
        try:
            status, body = self._post(prompt, sent + self.timeout_s)
            kind, detail, counted = self._judged(status, body)
        except TimeoutError:
            kind, detail = "timeout", f"no reply within {self.timeout_s:g} s"
        except (OSError, HTTPException) as error:
            kind, detail = "connection", f"{type(error).__name__}: {error}"
        return Exchange(
            start_s=sent - began,
            seconds=time.perf_counter() - sent,
            status=status,
            error=kind,
            detail=detail[:DETAIL_CHARS],
            **counted,
        )

    def _post(self, prompt: str, deadline: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with closing(HTTPConnection(self.host, self.port, timeout=_left(deadline))) as connection:
            connection.request("POST", "/chatbot", json.dumps({"prompt": prompt}), headers)
            wire = connection.sock  # the response takes it over
            wire.settimeout(_left(deadline))
            with closing(connection.getresponse()) as response:
                body = b""
                while chunk := response.read1(CHUNK_BYTES):
                    body += chunk
                    wire.settimeout(_left(deadline))
                return response.status, body

    def _judged(self, status: int, body: bytes) -> tuple[str, str, dict[str, int]]:
        """Kind and details of a failure, "" for none, and the tokens that the server counted."""
        if status != 200:
            return f"HTTP {status}", _problem(body), {}
        try:
            reply = json.loads(body)
            usage = reply["usage"]
            counted = {"tokens": int(usage["completion_tokens"]), "prompt_tokens": int(usage["prompt_tokens"])}
            assert isinstance(reply["reply"], str)
        except (KeyError, TypeError, ValueError, AssertionError):
            return "malformed reply", f"no reply with usage: {body.decode(errors='replace')}", {}
        if (tokens := counted["tokens"]) != self.reply_tokens:
            return "wrong length", f"a reply of {tokens} tokens where {self.reply_tokens} were expected", counted
        if (tokens := counted["prompt_tokens"]) != self.prompt_tokens:
            return "wrong length", f"a prompt of {tokens} tokens where {self.prompt_tokens} were sent", counted
        return "", "", counted


def _left(deadline: float) -> float:
    left = deadline - time.perf_counter()
    if left <= 0:
        raise TimeoutError
    return left


def _problem(body: bytes) -> str:
    """What a server says of an error: the `detail` of a JSON object, else the text."""
    text = body.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        return text
