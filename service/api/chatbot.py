"""`POST /chatbot`: one message in, one reply out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, g, jsonify, request

from service.api import events
from service.api.body import read_body
from service.api.origins import familiar
from service.api.problems import problem, wants
from service.api.proxies import over_tls
from service.api.timing import server_timing
from service.chat.answer import Answer, Reply
from service.chat.chatbot import Message
from service.chat.conversation import new_id, opened_by
from service.chat.store import name_of
from service.config import ServiceConfig
from service.errors import InvalidPrompt, ServiceError
from service.metrics import Metrics
from service.runtime import Runtime
from service.schemas.chat_reply import ChatDelta, ChatReply
from service.schemas.chat_request import ChatRequest, parse_chat_request

SESSION_HEADER = "X-Session-Id"
SESSION_COOKIE = "session_id"
KEY_HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,128}")
# A key that opens a conversation stands for its id, and must be as hard to guess.
SHORTEST_OPENING_KEY = 16


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("chatbot", __name__)

    @routes.post("/chatbot")
    def chat() -> Response:
        config = runtime.config
        asked = parse_chat_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        conversation_id, message = _message(runtime, asked)
        with ExitStack() as held:
            held.enter_context(runtime.at_work(g.client))
            answer = held.enter_context(
                runtime.model.chatbot.answer(
                    runtime.store,
                    message,
                    timeout_s=config.deadline_s,
                    gone=request.environ.get("waitress.client_disconnected", lambda: False),
                    client=g.client,
                )
            )
            if asked.stream or wants("text/event-stream"):
                response = _streamed(answer, conversation_id, runtime.metrics)
                _remember(response, runtime, conversation_id)
                response.call_on_close(held.pop_all().close)
            else:
                reply = answer.reply()
                runtime.metrics.replied(reply)
                response = _whole(reply, conversation_id)
                _remember(response, runtime, conversation_id)
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
        for piece in answer.pieces():
            yield events.event(ChatDelta(delta=piece).model_dump()) if piece else ""

    def end() -> str:
        reply = answer.reply()
        metrics.replied(reply)
        return events.event(ChatReply.of(reply.exchange, conversation_id).model_dump(), "done")

    def failure(error: ServiceError) -> str:
        return events.event(problem(str(error), error.status, error.code), "error")

    return events.stream(pieces(), end=end, failure=failure, metrics=metrics)


def _remember(response: Response, runtime: Runtime, conversation_id: str) -> None:
    response.headers[SESSION_HEADER] = conversation_id
    if conversation_id != runtime.shared_conversation and _has_cookies(runtime.config):
        secure = over_tls(request, runtime.config.trusted_proxies)
        response.set_cookie(
            _cookie(secure=secure),
            conversation_id,
            max_age=int(runtime.config.conversation_ttl_s),
            httponly=True,
            samesite="Lax",
            secure=secure,
        )


def _remembered(runtime: Runtime) -> str:
    """The id in the browser's cookie; empty for none, and for several, which only another page can have set."""
    if runtime.config.shared_history or not _has_cookies(runtime.config):
        return ""
    found = request.cookies.getlist(_cookie(secure=over_tls(request, runtime.config.trusted_proxies)))
    return found[0] if len(found) == 1 else ""


def _has_cookies(config: ServiceConfig) -> bool:
    return familiar(request, config.cors_origins, config.trusted_proxies)


def _cookie(*, secure: bool) -> str:
    """Its name; over TLS one under which browsers let no other host of the site set it."""
    return f"__Host-{SESSION_COOKIE}" if secure else SESSION_COOKIE


def _message(runtime: Runtime, asked: ChatRequest) -> tuple[str, Message]:
    """The id that the client knows its conversation by, and what it says there.

    Body before header before cookie; a named conversation must exist, an unknown cookie starts a fresh one.
    """
    store, shared = runtime.store, runtime.config.shared_history
    key = request.headers.get(KEY_HEADER, "")
    if KEY_HEADER in request.headers and not KEY.fullmatch(key):
        raise InvalidPrompt(f"The header {KEY_HEADER} must be 1 to 128 visible ASCII characters, such as a UUID.")

    def message(conversation_id: str, *, fresh: bool) -> tuple[str, Message]:
        common = shared and conversation_id == runtime.shared_conversation
        name = conversation_id if common else name_of(store, conversation_id, g.owner)
        return conversation_id, Message(name, asked.prompt, fresh=fresh or common, key=key)

    explicit = asked.session_id or request.headers.get(SESSION_HEADER)
    if explicit:
        return message(explicit, fresh=False)
    remembered = _remembered(runtime)
    if remembered and name_of(store, remembered, g.owner) in store:
        return message(remembered, fresh=False)
    if key and len(key) < SHORTEST_OPENING_KEY:
        raise InvalidPrompt(
            f"Without a session_id, the header {KEY_HEADER} must be at least {SHORTEST_OPENING_KEY} characters, "
            "such as a UUID, since it alone tells the request from those of others."
        )
    if shared:
        return message(runtime.shared_conversation, fresh=True)
    return message(opened_by(key, store.secret, g.owner) if key else new_id(), fresh=True)
