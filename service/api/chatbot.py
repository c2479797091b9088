"""`POST /chatbot`: one message in, one reply out."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from service.api.problems import wants_json
from service.chat.store import new_id
from service.errors import PayloadTooLarge
from service.runtime import Runtime
from service.schemas import parse_chat_request

SESSION_HEADER = "X-Session-Id"
SESSION_COOKIE = "session_id"


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("chatbot", __name__)

    @routes.post("/chatbot")
    def chat() -> Response:
        config = runtime.config
        body = _body(config.max_body_bytes)
        message = parse_chat_request(body, max_prompt_chars=config.max_prompt_chars)
        conversation = _conversation(runtime, message.session_id)
        with runtime:
            chatbot = runtime.model.chatbot
            reply = chatbot.reply(runtime.store, conversation, message.prompt, timeout_s=config.deadline_s)
        if wants_json():
            response = jsonify(
                {
                    "reply": reply.text,
                    "session_id": conversation,
                    "usage": {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens},
                    "truncated_turns": reply.truncated_turns,
                }
            )
        else:
            response = Response(reply.text, mimetype="text/plain")
        response.headers[SESSION_HEADER] = conversation
        response.headers["Server-Timing"] = (
            f"queue;dur={reply.queue_s * 1e3:.0f}, decode;dur={reply.decode_s * 1e3:.0f}"
        )
        if conversation != runtime.shared_conversation:
            response.set_cookie(
                SESSION_COOKIE,
                conversation,
                max_age=int(config.conversation_ttl_s),
                httponly=True,
                samesite="Lax",
                secure=request.is_secure,
            )
        return response

    return routes


def _body(limit: int) -> bytes:
    too_large = PayloadTooLarge(f"The body is larger than {limit} bytes; send a shorter prompt.")
    if (request.content_length or 0) > limit:
        raise too_large
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise too_large
    return body


def _conversation(runtime: Runtime, named: str | None) -> str:
    """Body before header before cookie; a named conversation must exist, an unknown cookie starts a fresh one."""
    explicit = named or request.headers.get(SESSION_HEADER)
    if explicit:
        if explicit != runtime.shared_conversation:
            runtime.store.turns(explicit)
        return explicit
    if runtime.config.shared_history:
        return runtime.shared_conversation
    remembered = request.cookies.get(SESSION_COOKIE)
    if remembered and remembered in runtime.store:
        return remembered
    return new_id()
