"""Which pages of other origins may call, and what their scripts may read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Response, request
from flask_cors import CORS

from service.values import ANY_ORIGIN

METHODS = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]
# A page that may call may send what it likes: clients add headers of their own, which differ between browsers.
SENT_HEADERS = "*"
READ_HEADERS = [
    "X-Session-Id",
    "X-Request-Id",
    "Retry-After",
    "Server-Timing",
    "Idempotent-Replayed",
    "WWW-Authenticate",
]
PREFLIGHT_KEPT_S = 600


def register(app: Flask, origins: Sequence[str]) -> None:
    """Answer browsers that ask on behalf of a page of another origin.

    Args:
        app: whose responses get the headers.
        origins: any, without credentials; or those named, with credentials; or none.
    """
    if not origins:
        return
    everyone = tuple(origins) == ANY_ORIGIN
    CORS(
        app,
        # As patterns, since the library takes an IPv6 address for one.
        origins="*" if everyone else [re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) for origin in origins],
        methods=METHODS,
        allow_headers=SENT_HEADERS,
        expose_headers=READ_HEADERS,
        max_age=PREFLIGHT_KEPT_S,
        supports_credentials=not everyone,
        send_wildcard=everyone,
        always_send=everyone,
        vary_header=False,
    )

    @app.before_request
    def preflight() -> Response | None:
        """Let a page send to paths where nothing is, since it could not read the error of a refused preflight."""
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return Response() if is_preflight and request.routing_exception is not None else None

    if not everyone:

        @app.after_request
        def vary(response: Response) -> Response:
            """A cache must not give one origin what was said to another, or to no page at all."""
            response.vary.add("Origin")
            return response
