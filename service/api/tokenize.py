"""`POST /tokenize`: how much of the model's window a conversation takes, before anything is said."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.api.body import read_body
from service.api.conversations import find
from service.chat.chatbot import Message
from service.runtime import Runtime
from service.schemas.token_count import TokenCount, parse_token_count_request


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("tokenize", __name__)

    @routes.post("/tokenize")
    def count() -> Response:
        config = runtime.config
        asked = parse_token_count_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        chatbot = runtime.model.chatbot
        found = find(runtime, asked.session_id)
        message = Message(found.name, asked.prompt or "", fresh=found.fresh, replace=asked.replace)
        prompt = chatbot.read(runtime.store, message)
        body = TokenCount(
            prompt_tokens=len(prompt.ids),
            window=chatbot.window,
            truncated_turns=prompt.truncated_turns,
            truncated_tokens=prompt.truncated_tokens,
        )
        return jsonify(body.model_dump())

    return routes
