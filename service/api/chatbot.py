"""`POST /chatbot`: one message in, one reply out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, g, jsonify, request

from service.api import events
from service.api.body import read_body
from service.api.conversations import KEY_HEADER, Found, find, remember
from service.api.problems import problem, wants
from service.api.timing import server_timing
from service.chat.answer import Answer, Reply
from service.chat.chatbot import Message
from service.errors import InvalidPrompt, ServiceError
from service.metrics import Metrics
from service.runtime import Runtime
from service.schemas.chat_reply import ChatDelta, ChatReply, QueuePosition
from service.schemas.chat_request import ChatRequest, parse_chat_request

KEY = re.compile(r"[\x21-\x7e]{1,128}")


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("chatbot", __name__)

    @routes.post("/chatbot")
    def chat() -> Response:
        config = runtime.config
        asked = parse_chat_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        key = _key()
        found = find(runtime, asked.session_id, key)
        with ExitStack() as held:
            held.enter_context(runtime.at_work(g.client))
            answer = held.enter_context(
                runtime.model.chatbot.answer(
                    runtime.store,
                    _message(found, asked, key),
                    timeout_s=config.deadline_s,
                    gone=request.environ.get("waitress.client_disconnected", lambda: False),
                    client=g.client,
                )
            )
            if asked.stream or wants("text/event-stream"):
                response = _streamed(answer, found.id, runtime.metrics)
                remember(response, runtime, found.id)
                response.call_on_close(held.pop_all().close)
            else:
                reply = answer.reply()
                runtime.metrics.replied(reply)
                response = _whole(reply, found.id)
                remember(response, runtime, found.id)
        if answer.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    return routes


def _whole(reply: Reply, conversation_id: str) -> Response:
    if wants("application/json"):
        response = jsonify(ChatReply.of(reply.exchange, conversation_id).model_dump())
    else:
        response = Response(reply.exchange.reply, mimetype="text/plain")
    if reply.timing is not None:
        response.headers["Server-Timing"] = server_timing(reply.timing)
    return response


def _streamed(answer: Answer, conversation_id: str, metrics: Metrics) -> Response:
    def pieces() -> Iterator[str]:
        yield ": the reply follows\n\n"
        told = 0
        for piece in answer.pieces():
            if (position := answer.position) != told:
                yield events.event(QueuePosition(position=position).model_dump(), "queue")
                told = position
            yield events.event(ChatDelta(delta=piece).model_dump()) if piece else ""

    def end() -> str:
        reply = answer.reply()
        metrics.replied(reply)
        return events.event(ChatReply.of(reply.exchange, conversation_id).model_dump(), "done")

    def failure(error: ServiceError) -> str:
        return events.event(problem(str(error), error.status, error.code), "error")

    return events.stream(pieces(), end=end, failure=failure, metrics=metrics)


def _key() -> str:
    key = request.headers.get(KEY_HEADER, "")
    if KEY_HEADER in request.headers and not KEY.fullmatch(key):
        raise InvalidPrompt(f"The header {KEY_HEADER} must be 1 to 128 visible ASCII characters, such as a UUID.")
    return key


def _message(found: Found, asked: ChatRequest, key: str) -> Message:
    return Message(
        found.name,
        asked.prompt,
        fresh=found.fresh,
        key=key,
        temperature=asked.temperature or 0.0,
        seed=asked.seed,
        replace=asked.replace,
    )
