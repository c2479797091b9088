"""`/sessions/{id}`: read a conversation, forget it."""

from __future__ import annotations

import re
from typing import Literal

from flask import Blueprint, Response, g, request
from pydantic import BaseModel, Field

from service.conversations.conversation import Exchange
from service.conversations.store import Page, Store, name_of
from service.errors import InvalidPrompt
from service.http.operation import JSON, Operation, Parameter, Reply, describe

# Of the texts of one answer; most conversations are shorter.
PAGE_BYTES = 128 * 1024
NUMBER = re.compile(r"[0-9]{1,9}")


class Turn(BaseModel):
    """What one side said."""

    speaker: Literal["user", "bot"]
    text: str
    exchange: int = Field(description="Number of message and reply, by which the last ones can be replaced.")
    truncated_tokens: int = Field(
        description="Tokens at the beginning of a message that did not fit the model's window."
    )


class ConversationBody(BaseModel):
    """A conversation so far."""

    session_id: str
    turns: list[Turn] = Field(description="Oldest first.")
    truncated_turns: int = Field(description="Oldest turns that the model did not read for its last reply.")
    earlier_turns: int = Field(description="Turns before these, which `?before=` with this number brings.")


SESSION_ID = Parameter("session_id", "path", "Id of the conversation.")
READ = Operation(
    "Read a conversation",
    Reply("The conversation.", {JSON: ConversationBody}),
    description="The latest turns, as many as fit 128 KiB; `before` brings those before them.",
    parameters=[
        SESSION_ID,
        Parameter("before", "query", "Only turns before so many: the `earlier_turns` of another page.", NUMBER.pattern),
    ],
    errors=(404, 422, 429, 503),
)
FORGET = Operation(
    "Forget a conversation", Reply("It is gone."), status=204, parameters=[SESSION_ID], errors=(404, 429, 503)
)


def blueprint(store: Store) -> Blueprint:
    """The routes, bound to the store they read."""
    routes = Blueprint("sessions", __name__)

    @routes.get("/sessions/<session_id>")
    @describe(READ)
    def read_conversation(session_id: str) -> Response:
        name, before = name_of(store, session_id, g.owner), _before()
        page = store.read(name, Page(before=before, max_bytes=PAGE_BYTES))
        latest = page if before is None else store.read(name, Page(max_exchanges=1))
        body = ConversationBody(
            session_id=session_id,
            turns=[turn for exchange in page.exchanges for turn in _turns(exchange)],
            truncated_turns=latest.exchanges[-1].truncated_turns,
            earlier_turns=2 * page.earlier,
        )
        return Response(body.model_dump_json(), mimetype="application/json")

    @routes.delete("/sessions/<session_id>")
    @describe(FORGET)
    def forget_conversation(session_id: str) -> Response:
        store.delete(name_of(store, session_id, g.owner))
        return Response(status=204)

    return routes


def _before() -> int | None:
    """Before how many exchanges the page ends; None where the query does not say."""
    text = request.args.get("before")
    if text is None:
        return None
    if not NUMBER.fullmatch(text):
        raise InvalidPrompt("before must be a whole number, such as the earlier_turns of the page after it.")
    return int(text) // 2


def _turns(exchange: Exchange) -> tuple[Turn, Turn]:
    number = exchange.number
    message = Turn(speaker="user", text=exchange.message, exchange=number, truncated_tokens=exchange.truncated_tokens)
    return message, Turn(speaker="bot", text=exchange.reply, exchange=number, truncated_tokens=0)
