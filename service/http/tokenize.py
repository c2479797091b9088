"""`POST /tokenize`: how much of the model's window a conversation takes, before anything is said."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from service.chat.chatbot import Message
from service.http.body import check_length, read_body, read_object
from service.http.chatbot import EXAMPLE, EXPECTED, SETTINGS, TRUNCATED_TOKENS
from service.http.fields import ExchangeNumber, SessionId, Text
from service.http.operation import JSON, Operation, Parameter, Reply, describe
from service.http.which_session import find_conversation
from service.serving.runtime import Runtime


class TokenCountRequest(BaseModel):
    """Body of `POST /tokenize`: a message to `/chatbot`, as far as it says what the model reads."""

    model_config = SETTINGS

    prompt: Text | None = Field(
        default=None, description="What the user would say; absent or empty: nothing beside the conversation so far."
    )
    session_id: SessionId | None = Field(default=None, description="Conversation, as given in X-Session-Id.")
    replace: ExchangeNumber | None = Field(
        default=None, description="Number of the last exchange, which is not read then."
    )


class TokenCount(BaseModel):
    """What the model would read."""

    prompt_tokens: int = Field(description="Tokens that the model would read, at most its window.")
    window: int = Field(description="The most that it reads.")
    truncated_turns: int = Field(description="Oldest turns that would not fit; it reads from the one after them on.")
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)


OPERATION = Operation(
    "Count what the model would read",
    Reply("The count.", {JSON: TokenCount}),
    description="Of the conversation, and of a message that is not sent yet: how many tokens, and from which turn on. "
    "Nothing is stored. The conversation is found as for `/chatbot`.",
    parameters=[Parameter("X-Session-Id", "header", "Id of the conversation.")],
    body=TokenCountRequest,
    errors=(400, 404, 409, 413, 415, 422, 429, 503),
)


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("tokenize", __name__)

    @routes.post("/tokenize")
    @describe(OPERATION)
    def count_tokens() -> Response:
        config = runtime.config
        body = parse_token_count_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        chatbot = runtime.host.model.chatbot
        conversation = find_conversation(runtime, body.session_id)
        message = Message(conversation.name, body.prompt or "", fresh=conversation.fresh, replace=body.replace)
        prompt = chatbot.read(runtime.store, message)
        counted = TokenCount(
            prompt_tokens=len(prompt.ids),
            window=chatbot.window,
            truncated_turns=prompt.truncated_turns,
            truncated_tokens=prompt.truncated_tokens,
        )
        return jsonify(counted.model_dump())

    return routes


def parse_token_count_request(body: bytes, *, max_prompt_chars: int) -> TokenCountRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape.
        PayloadTooLarge: a prompt over its limit.
    """
    request = read_object(body, TokenCountRequest, example=EXAMPLE, expected=EXPECTED)
    check_length(request.prompt or "", max_prompt_chars)
    return request
