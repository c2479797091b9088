"""Replies as server-sent events."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, g, request

from service.departure import departed, doubt
from service.errors import Cancelled, ServiceError
from service.http.errors import traceable, unforeseen
from service.metrics import Metrics

logger = logging.getLogger(__name__)

PING_S = 15.0
# A line alone: some readers take each blank line for the end of an event.
PING = ": ping\n"
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def stream(
    pieces: Iterator[str], *, end: Callable[[], str], failure: Callable[[ServiceError], str], metrics: Metrics
) -> Response:
    """Answer with events as they come.

    Args:
        pieces: events; an empty one means that there is nothing new yet.
        end: makes the event that ends the stream, once the pieces are through.
        failure: makes the event for an error.
        metrics: count what went wrong.
    """
    content = _events(pieces, end, failure, metrics, str(g.request_id), doubt(request.environ))
    response = Response(content, mimetype="text/event-stream")
    response.headers.update(HEADERS)
    return response


def event(data: str | dict[str, Any], name: str = "") -> str:
    """One event; an object is written as JSON."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n"


def _events(
    pieces: Iterator[str],
    end: Callable[[], str],
    failure: Callable[[ServiceError], str],
    metrics: Metrics,
    request_id: str,
    doubtful: Callable[[], bool],
) -> Iterator[str]:
    written = time.monotonic()
    try:
        for piece in pieces:
            now = time.monotonic()
            if piece:
                yield piece
            elif now - written >= PING_S or doubtful():
                yield PING
            else:
                continue
            written = now
        last = end()
    except Cancelled as error:
        metrics.failed(error)
    except GeneratorExit:
        metrics.failed(departed())
        raise
    except ServiceError as error:
        metrics.failed(error)
        yield failure(traceable(error, request_id))
    except Exception:
        logger.exception("request %s failed", request_id)
        unknown = unforeseen(request_id)
        metrics.failed(unknown)
        yield failure(unknown)
    else:
        yield last
