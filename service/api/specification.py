"""The OpenAPI document of the service, made from the schemas that the endpoints use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.schemas.chat_reply import ChatDelta, ChatReply, QueuePosition
from service.schemas.chat_request import ChatRequest
from service.schemas.completion import ChatCompletion, ChatCompletionChunk
from service.schemas.completion_request import ChatCompletionRequest
from service.schemas.conversation import ConversationBody
from service.schemas.health import Alive, NotReadyYet, Ready
from service.schemas.model_list import Model, ModelList
from service.schemas.openai_error import ErrorBody
from service.schemas.problem import Problem
from service.schemas.token_count import TokenCount, TokenCountRequest
from service.settings import ServiceConfig

REQUESTS: Sequence[type[BaseModel]] = (ChatRequest, TokenCountRequest, ChatCompletionRequest)
REPLIES: Sequence[type[BaseModel]] = (
    *(ChatReply, ChatDelta, QueuePosition, TokenCount, ConversationBody, Problem, Alive, Ready, NotReadyYet),
    *(ChatCompletion, ChatCompletionChunk, ModelList, Model, ErrorBody),
)
JSON, TEXT, EVENTS, HTML = "application/json", "text/plain", "text/event-stream", "text/html"
PROBLEM = "application/problem+json"
SESSION_LINK = "$response.header.X-Session-Id"
REASONS: Mapping[int, str] = {
    400: "The body is not JSON.",
    401: "No API key, or one that is not known.",
    404: "There is no such conversation.",
    409: "Another message of the conversation was answered first; send this one again. Or what `replace` names is not "
    "the last exchange, or the exchange of a retry has been replaced since; read the conversation again.",
    413: "The body or the prompt is over its limit.",
    415: "The body is compressed.",
    422: "JSON, but not a request that can be answered.",
    429: "Too many messages from this client; Retry-After says when to come again.",
    500: "The model failed; the request id finds the reason in the log.",
    503: "Not ready, overloaded or without its store; Retry-After says when to come again.",
    504: "No reply in time.",
}
OPENAI_REASONS: Mapping[int, str] = {
    **REASONS,
    400: "Not JSON, a last message over its limit, or a field that is wrong or not done here, which `param` names.",
    404: "No model of that name is served.",
    413: "The body is over its limit.",
}

Json = dict[str, Any]


def specification(config: ServiceConfig, *, secured: bool) -> Json:
    """The document.

    Args:
        config: whose limits it names.
        secured: whether an API key is asked for.
    """
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Chatbot",
            "version": "1",
            "description": "A Blenderbot model behind HTTP. `POST /chatbot` keeps conversations; `/v1` speaks OpenAI's "
            f"protocol. Limits: bodies of {config.max_body_bytes:,} bytes, prompts of {config.max_prompt_chars:,} "
            f"characters, {config.deadline_s:g} seconds for a reply.",
        },
        # Relative to the document, so that it is right behind a proxy that serves it below a path.
        "servers": [{"url": "./"}],
        "paths": _paths(secured),
        "components": {"schemas": _schemas()},
    }
    if secured:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _paths(secured: bool) -> Json:
    def errors(*statuses: int, content: Json, reasons: Mapping[int, str] = REASONS) -> Json:
        told = [401, *statuses] if secured else statuses
        return {str(status): _error(status, reasons[status], content) for status in told}

    text = {TEXT: {"schema": {"type": "string"}}}
    sentence = {**text, PROBLEM: _ref(Problem)}
    openai = {JSON: _ref(ErrorBody)}
    named = errors(404, 503, content=openai, reasons=OPENAI_REASONS)
    session = _parameter("session_id", "path", "Id of the conversation.", required=True)
    before = _parameter("before", "query", "Only turns before so many: the `earlier_turns` of another page.")
    chat = errors(400, 404, 409, 413, 415, 422, 429, 500, 503, 504, content=sentence)
    completion = errors(400, 404, 413, 415, 429, 500, 503, 504, content=openai, reasons=OPENAI_REASONS)
    return {
        "/chatbot": {
            "post": {
                "operationId": "chat",
                "summary": "Say something and get the reply",
                "description": "The conversation is the one of `session_id` in the body, else of the `X-Session-Id` "
                "header, else of the cookie; with none of them a new one begins. Both turns are stored before the "
                "reply is complete. With an `Idempotency-Key` header, such as a UUID, a retry gets the stored reply; "
                "the same key with another request is a 422. With `replace`, message and reply take the place of the "
                "last exchange.",
                "parameters": [_parameter("X-Session-Id", "header", "Id of the conversation to go on with.")],
                "requestBody": _body(ChatRequest),
                "responses": {
                    "200": {
                        "description": "The reply: as text, as an object, or as a stream of events, each a piece of "
                        "text; `event: queue` tells its place among those that wait, `event: done` brings the object "
                        "at the end, `event: error` a problem.",
                        "headers": {
                            "X-Session-Id": {**_header("The conversation."), "required": True},
                            "Idempotent-Replayed": _header("true for a reply that was stored before."),
                            "Server-Timing": _header("Milliseconds in the queue, the encoder and the decoder."),
                        },
                        "content": {
                            **text,
                            JSON: _ref(ChatReply),
                            EVENTS: _events(
                                {"message": ChatDelta, "queue": QueuePosition, "done": ChatReply, "error": Problem}
                            ),
                        },
                        "links": {
                            name: {"operationId": name, "parameters": {"session_id": SESSION_LINK}}
                            for name in ("read_conversation", "forget_conversation")
                        },
                    },
                    **chat,
                },
            }
        },
        "/tokenize": {
            "post": {
                "operationId": "count_tokens",
                "summary": "Count what the model would read",
                "description": "Of the conversation, and of a message that is not sent yet: how many tokens, and from "
                "which turn on. Nothing is stored. The conversation is found as for `/chatbot`.",
                "parameters": [_parameter("X-Session-Id", "header", "Id of the conversation.")],
                "requestBody": _body(TokenCountRequest),
                "responses": {
                    "200": _json("The count.", TokenCount),
                    **errors(400, 404, 409, 413, 415, 422, 429, 503, content=sentence),
                },
            }
        },
        "/sessions/{session_id}": {
            "get": {
                "operationId": "read_conversation",
                "summary": "Read a conversation",
                "description": "The latest turns, as many as fit 128 KiB; `before` brings those before them.",
                "parameters": [session, before],
                "responses": {
                    "200": _json("The conversation.", ConversationBody),
                    **errors(404, 422, 429, 503, content=sentence),
                },
            },
            "delete": {
                "operationId": "forget_conversation",
                "summary": "Forget a conversation",
                "parameters": [session],
                "responses": {"204": {"description": "It is gone."}, **errors(404, 429, 503, content=sentence)},
            },
        },
        "/v1/chat/completions": {
            "post": {
                "operationId": "complete",
                "summary": "Answer a conversation that the client keeps",
                "description": "As OpenAI's API; nothing is stored.",
                "requestBody": _body(ChatCompletionRequest),
                "responses": {
                    "200": {
                        "description": "The replies, or with `stream` chunks of them, `[DONE]` last.",
                        "content": {
                            JSON: _ref(ChatCompletion),
                            EVENTS: _events({"message": ChatCompletionChunk}, end="[DONE]"),
                        },
                    },
                    **completion,
                },
            }
        },
        "/v1/models": {
            "get": {
                "operationId": "list_models",
                "summary": "The model that is served",
                "responses": {"200": _json("A list of one.", ModelList), **errors(503, content=openai)},
            }
        },
        "/v1/models/{name}": {
            "get": {
                "operationId": "describe_model",
                "summary": "The model of a name",
                "parameters": [_parameter("name", "path", "As in the list.", required=True)],
                "responses": {
                    "200": _json("The model.", Model),
                    **named,
                },
            }
        },
        "/livez": _open("alive", "Whether the process lives", _json("It does.", Alive)),
        **{
            path: _open(
                name, "Whether messages are answered", _json("They are.", Ready), _json("Not now.", NotReadyYet)
            )
            for path, name in (("/readyz", "ready"), ("/health", "health"))
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Figures for Prometheus",
                "responses": {
                    "200": {
                        "description": "In Prometheus' text format.",
                        "content": {TEXT: {"schema": {"type": "string"}}},
                    },
                    **errors(content=sentence),
                },
            }
        },
        **{
            path: _open(name, summary, {"description": "A page.", "content": {HTML: {"schema": {"type": "string"}}}})
            for path, name, summary in (("/", "page", "The chat page"), ("/docs", "docs", "This document, to try"))
        },
        "/openapi.json": _open(
            "openapi",
            "This document",
            {"description": "An OpenAPI document.", "content": {JSON: {"schema": {"type": "object"}}}},
        ),
    }


def _schemas() -> Json:
    chosen: list[tuple[type[BaseModel], Any]] = [
        *((model, "validation") for model in REQUESTS),
        *((model, "serialization") for model in REPLIES),
    ]
    _, definitions = models_json_schema(chosen, ref_template="#/components/schemas/{model}")
    return dict(definitions["$defs"])


def _ref(model: type[BaseModel]) -> Json:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


def _error(status: int, reason: str, content: Json) -> Json:
    told: Json = {"description": reason, "content": content}
    if status in {429, 503}:
        told["headers"] = {"Retry-After": _header("Seconds after which a retry makes sense.", "integer")}
    return told


def _header(description: str, kind: str = "string") -> Json:
    return {"description": description, "schema": {"type": kind}}


def _events(data: Mapping[str, type[BaseModel]], *, end: str = "") -> Json:
    """One server-sent event: its data is an object of the kind that its name says, or the word at the end."""
    objects = [_ref(model)["schema"] for model in data.values()]
    content: Json = {"type": "string", "contentMediaType": JSON, "contentSchema": {"anyOf": objects}}
    if end:
        content = {"anyOf": [{"const": end}, content]}
    event = {"type": "string", "enum": list(data)}
    return {"schema": {"type": "object", "properties": {"event": event, "data": content}, "required": ["data"]}}


def _body(model: type[BaseModel]) -> Json:
    return {"required": True, "content": {JSON: _ref(model)}}


def _json(description: str, model: type[BaseModel]) -> Json:
    return {"description": description, "content": {JSON: _ref(model)}}


def _parameter(name: str, place: str, description: str, *, required: bool = False) -> Json:
    schema = {"type": "string"}
    return {"name": name, "in": place, "description": description, "required": required, "schema": schema}


def _open(name: str, summary: str, good: Json, bad: Json | None = None) -> Json:
    """An endpoint that needs no key."""
    responses = {"200": good, **({"503": bad} if bad else {})}
    return {"get": {"operationId": name, "summary": summary, "security": [], "responses": responses}}
