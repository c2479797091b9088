"""The body of a request, up to its limit."""

from __future__ import annotations

import json

from flask import request

from service.errors import PayloadTooLarge, UnsupportedEncoding

LONGEST_SHOWN = 60

# The paths of messages, all that have a body, and where an application says whether it will read one.
MESSAGES = frozenset({"/chatbot", "/v1/chat/completions"})
COUNTS = "/tokenize"
BODIES = MESSAGES | {COUNTS}
WANTED = "chatbot.wanted"


def read_body(limit: int) -> bytes:
    """Read the body of the request at hand.

    Raises:
        PayloadTooLarge: it has more than `limit` bytes; no more than that are read.
        UnsupportedEncoding: it is compressed.
    """
    too_large = PayloadTooLarge(f"The body is larger than {limit} bytes; send less text.")
    if (request.content_length or 0) > limit:
        raise too_large
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise too_large
    encoding = request.headers.get("Content-Encoding", "")
    # Some clients name a charset there, which is no reason to refuse what can be read.
    if encoding.strip().lower() not in {"", "identity"} and not _readable(body):
        raise UnsupportedEncoding(
            f"The body has the Content-Encoding {json.dumps(encoding[:LONGEST_SHOWN])}, which is not read here; "
            "send it as it is, without one."
        )
    return body


def _readable(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
