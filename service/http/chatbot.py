"""`POST /chatbot`: one message in, one reply out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated

from flask import Blueprint, Response, g, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from service import departure
from service.chat.answer import Answer, Reply
from service.chat.chatbot import Message
from service.chat.prompt import clean
from service.conversations.conversation import Exchange
from service.errors import InvalidPrompt, ServiceError
from service.http import events, operation
from service.http.body import check_length, read_body, read_object
from service.http.cookies import remember
from service.http.errors import Problem, problem, wants
from service.http.fields import WHOLE, ExchangeNumber, SessionId, Text
from service.http.operation import EVENTS, JSON, TEXT, Events, Operation, Parameter, describe
from service.http.timing import server_timing
from service.http.which_session import KEY_HEADER, ConversationRef, find_conversation
from service.metrics import Metrics
from service.serving.runtime import Runtime

# Whatever `clean` leaves something of: one character that is neither space nor control.
SOMETHING = r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
EXAMPLE = '{"prompt": "Hello, how are you today?"}'
EXPECTED = {
    "prompt": "a string",
    "session_id": "a string of 1 to 128 characters",
    "stream": "true or false",
    "temperature": "a number from 0 to 2",
    "seed": "a whole number of 64 bits",
    "replace": "the number of the last exchange, as the reply gives it in exchange",
}
KEY = re.compile(r"[\x21-\x7e]{1,128}")
TRUNCATED_TOKENS = "Tokens at the beginning of the newest message that did not fit the model's window."

SETTINGS = ConfigDict(
    strict=True,
    extra="ignore",
    frozen=True,
    allow_inf_nan=False,
    json_schema_extra={"examples": [json.loads(EXAMPLE)]},
)


class ChatRequest(BaseModel):
    """Body of `POST /chatbot`."""

    model_config = SETTINGS

    prompt: Text = Field(description="What the user says.", json_schema_extra={"pattern": SOMETHING})
    session_id: SessionId | None = Field(
        default=None, description="Conversation to go on with, as given in X-Session-Id."
    )
    stream: bool | None = Field(
        default=False, description="Whether the reply comes piece by piece, as server-sent events."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Above 0: tokens are drawn at random, so that a message gets another reply each time. "
        "0 or absent: the model's own decoding.",
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = Field(
        default=None, description="Of the drawing: the same seed and history give the same reply."
    )
    replace: ExchangeNumber | None = Field(
        default=None,
        description="Number of the last exchange, in whose place this message and its reply are stored, to answer it "
        "anew or to say something else. If another exchange is the last one by then, nothing changes and a 409 comes.",
    )


class Usage(BaseModel):
    """Tokens of one reply."""

    prompt_tokens: int = Field(description="Tokens that the model read, at most its window.")
    completion_tokens: int = Field(description="Tokens of the reply.")


class ChatReply(BaseModel):
    """A reply that has been stored."""

    reply: str = Field(description="What the bot says.")
    session_id: str = Field(description="The conversation, to go on with.")
    exchange: int = Field(description="Number of message and reply in the conversation, by which they can be replaced.")
    usage: Usage
    truncated_turns: int = Field(description="Oldest turns that did not fit the model's window.")
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)

    @staticmethod
    def of(exchange: Exchange, conversation_id: str) -> ChatReply:
        """Describe an exchange of a conversation."""
        usage = Usage(prompt_tokens=exchange.prompt_tokens, completion_tokens=exchange.completion_tokens)
        return ChatReply(
            reply=exchange.reply,
            session_id=conversation_id,
            exchange=exchange.number,
            usage=usage,
            truncated_turns=exchange.truncated_turns,
            truncated_tokens=exchange.truncated_tokens,
        )


class QueuePosition(BaseModel):
    """Data of an event `queue`, which comes when the place changes."""

    position: int = Field(
        description="Place among the messages that wait, 1 for the next one; 0: it is being answered."
    )


class ChatDelta(BaseModel):
    """Data of an event without a name: more of the reply."""

    delta: str


OPERATION = Operation(
    "Say something and get the reply",
    operation.Reply(
        "The reply: as text, as an object, or as a stream of events, each a piece of text; `event: queue` tells its "
        "place among those that wait, `event: done` brings the object at the end, `event: error` a problem.",
        {
            TEXT: operation.Text(),
            JSON: ChatReply,
            EVENTS: Events({"message": ChatDelta, "queue": QueuePosition, "done": ChatReply, "error": Problem}),
        },
        headers={
            "X-Session-Id": "The conversation.",
            "Idempotent-Replayed": "true for a reply that was stored before.",
            "Server-Timing": "Milliseconds in the queue, the encoder and the decoder.",
        },
        required_headers=["X-Session-Id"],
        links=["read_conversation", "forget_conversation"],
    ),
    description="The conversation is the one of `session_id` in the body, else of the `X-Session-Id` header, else of "
    "the cookie; with none of them a new one begins. Both turns are stored before the reply is complete. With an "
    "`Idempotency-Key` header, such as a UUID, a retry gets the stored reply; the same key with another request is a "
    "422. With `replace`, message and reply take the place of the last exchange.",
    parameters=[Parameter("X-Session-Id", "header", "Id of the conversation to go on with.")],
    body=ChatRequest,
    errors=(400, 404, 409, 413, 415, 422, 429, 500, 503, 504),
)


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("chatbot", __name__)

    @routes.post("/chatbot")
    @describe(OPERATION)
    def chat() -> Response:
        config = runtime.config
        body = parse_chat_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        key = _key()
        conversation = find_conversation(runtime, body.session_id, key)
        with ExitStack() as held:
            held.enter_context(runtime.admission.admit(g.client))
            answer = held.enter_context(
                runtime.host.model.chatbot.answer(
                    runtime.store,
                    _message(conversation, body, key),
                    timeout_s=config.deadline_s,
                    gone=departure.watch(request.environ),
                    client=g.client,
                )
            )
            if body.stream or wants("text/event-stream"):
                response = _streamed(answer, conversation.id, runtime.metrics)
                remember(response, runtime, conversation.id)
                response.call_on_close(held.pop_all().close)
            else:
                reply = answer.reply()
                runtime.metrics.replied(reply)
                response = _whole(reply, conversation.id)
                remember(response, runtime, conversation.id)
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
        last_position = 0
        for piece in answer.pieces():
            if (position := answer.position) != last_position:
                yield events.event(QueuePosition(position=position).model_dump(), "queue")
                last_position = position
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


def _message(conversation: ConversationRef, body: ChatRequest, key: str) -> Message:
    return Message(
        conversation.name,
        body.prompt,
        fresh=conversation.fresh,
        key=key,
        temperature=body.temperature or 0.0,
        seed=body.seed,
        replace=body.replace,
    )


def parse_chat_request(body: bytes, *, max_prompt_chars: int) -> ChatRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape, or a prompt with nothing in it.
        PayloadTooLarge: a prompt over its limit.
    """
    request = read_object(body, ChatRequest, example=EXAMPLE, expected=EXPECTED)
    check_length(request.prompt, max_prompt_chars)
    if not clean(request.prompt):
        raise InvalidPrompt(f"The prompt is empty; send some text, for example {EXAMPLE}.")
    return request
