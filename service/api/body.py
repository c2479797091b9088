"""The body of a request, up to its limit."""

from __future__ import annotations

from flask import request

from service.errors import PayloadTooLarge


def read_body(limit: int) -> bytes:
    """Read the body of the request at hand.

    Raises:
        PayloadTooLarge: it has more than `limit` bytes; no more than that are read.
    """
    too_large = PayloadTooLarge(f"The body is larger than {limit} bytes; send less text.")
    if (request.content_length or 0) > limit:
        raise too_large
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise too_large
    return body
