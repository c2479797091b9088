"""Replies as server-sent events."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from service.api.problems import problem, unforeseen
from service.chat.chatbot import Answer, Reply
from service.errors import Cancelled, ServiceError
from service.metrics import Metrics

logger = logging.getLogger(__name__)

PING_S = 15.0
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def stream(answer: Answer, describe: Callable[[Reply], dict[str, Any]], metrics: Metrics, request_id: str) -> Response:
    """Answer with the pieces of a reply as they come.

    Args:
        answer: of one message.
        describe: the object that ends the stream.
        metrics: told how it went.
        request_id: told to the client when something unforeseen goes wrong.
    """
    response = Response(_events(answer, describe, metrics, request_id), mimetype="text/event-stream")
    response.headers.update(HEADERS)
    return response


def _events(
    answer: Answer, describe: Callable[[Reply], dict[str, Any]], metrics: Metrics, request_id: str
) -> Iterator[str]:
    written = time.monotonic()
    try:
        yield ": the reply follows\n\n"
        for piece in answer.pieces():
            now = time.monotonic()
            if piece:
                yield _event({"delta": piece})
            elif now - written >= PING_S:
                yield ": ping\n\n"
            else:
                continue
            written = now
        reply = answer.reply()
        metrics.replied(reply)
    except Cancelled as error:
        metrics.failed(error)
    except GeneratorExit:
        metrics.failed(Cancelled("The client went away before its reply was complete."))
        raise
    except ServiceError as error:
        metrics.failed(error)
        yield _event(problem(str(error), error.status, error.code), "error")
    except Exception:
        logger.exception("request %s failed", request_id)
        metrics.failed(ServiceError("unforeseen"))
        yield _event(unforeseen(request_id), "error")
    else:
        yield _event(describe(reply), "done")


def _event(data: dict[str, Any], name: str = "") -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"
