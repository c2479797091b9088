"""The OpenAPI document of the service, made from its routes and their operations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.errors import ErrorBody, Problem
from service.http.operation import JSON, TEXT, Events, Operation, Parameter, Reply, Text, operation_of
from service.http.paths import below_openai
from service.settings import ServiceConfig

PROBLEM = "application/problem+json"
SESSION_LINK = "$response.header.X-Session-Id"
VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
# Every route has these as well.
IMPLIED = frozenset({"HEAD", "OPTIONS"})
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


def document(app: Flask, config: ServiceConfig, *, secured: bool) -> Json:
    """The document.

    Args:
        app: with all its routes.
        config: whose limits it names.
        secured: whether an API key is asked for.
    """
    described = list(_operations(app))
    paths: dict[str, Json] = {}
    for path, method, name, operation in described:
        paths.setdefault(path, {})[method] = _described(path, name, operation, secured)
    content: Json = {
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
        "paths": paths,
        "components": {"schemas": _schemas([operation for *_, operation in described])},
    }
    if secured:
        content["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        content["security"] = [{"key": []}]
    return content


def _operations(app: Flask) -> Iterator[tuple[str, str, str, Operation]]:
    """Path, method, name and operation of each route; the name is that of its endpoint."""
    for rule in app.url_map.iter_rules():
        operation = operation_of(app.view_functions[rule.endpoint])
        if operation is not None:
            for method in sorted((rule.methods or set()) - IMPLIED):
                yield VARIABLE.sub(r"{\1}", rule.rule), method.lower(), rule.endpoint.rpartition(".")[2], operation


def _described(path: str, name: str, operation: Operation, secured: bool) -> Json:
    is_openai = below_openai(path)
    reasons = OPENAI_REASONS if is_openai else REASONS
    error: Json = {JSON: _schema(ErrorBody)} if is_openai else {TEXT: _schema(Text()), PROBLEM: _schema(Problem)}
    statuses = [401, *operation.errors] if secured and not operation.is_open else operation.errors
    described: Json = {
        "operationId": name,
        "summary": operation.summary,
        "responses": {
            str(operation.status): _reply(operation.reply),
            **({"503": _reply(Reply("Not now.", {JSON: operation.not_ready}))} if operation.not_ready else {}),
            **{str(status): _error(status, reasons[status], error) for status in statuses},
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: _schema(operation.body)}}
    if operation.is_open:
        described["security"] = []
    return described


def _reply(reply: Reply) -> Json:
    described: Json = {"description": reply.description}
    if reply.headers:
        described["headers"] = {
            name: _header(sentence) | ({"required": True} if name in reply.required_headers else {})
            for name, sentence in reply.headers.items()
        }
    if reply.content:
        described["content"] = {mimetype: _schema(content) for mimetype, content in reply.content.items()}
    if reply.links:
        described["links"] = {
            name: {"operationId": name, "parameters": {"session_id": SESSION_LINK}} for name in reply.links
        }
    return described


def _schema(content: type[BaseModel] | Events | Text) -> Json:
    if isinstance(content, Text):
        return {"schema": {"type": content.schema}}
    if isinstance(content, Events):
        return {"schema": _event(content)}
    return {"schema": _ref(content)}


def _event(events: Events) -> Json:
    """One server-sent event: its data is an object of the kind that its name says, or the word at the end."""
    objects = [_ref(model) for model in events.data.values()]
    data: Json = {"type": "string", "contentMediaType": JSON, "contentSchema": {"anyOf": objects}}
    if events.end:
        data = {"anyOf": [{"const": events.end}, data]}
    event = {"type": "string", "enum": list(events.data)}
    return {"type": "object", "properties": {"event": event, "data": data}, "required": ["data"]}


def _schemas(operations: list[Operation]) -> Json:
    requests = [operation.body for operation in operations if operation.body is not None]
    replies: list[type[BaseModel]] = [Problem, ErrorBody]
    for operation in operations:
        for content in operation.reply.content.values():
            if isinstance(content, Events):
                replies += content.data.values()
            elif not isinstance(content, Text):
                replies.append(content)
        if operation.not_ready is not None:
            replies.append(operation.not_ready)
    chosen: list[tuple[type[BaseModel], Any]] = [
        *((model, "validation") for model in dict.fromkeys(requests)),
        *((model, "serialization") for model in dict.fromkeys(replies)),
    ]
    _, definitions = models_json_schema(chosen, ref_template="#/components/schemas/{model}")
    return dict(definitions["$defs"])


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _error(status: int, reason: str, content: Json) -> Json:
    described: Json = {"description": reason, "content": content}
    if status in {429, 503}:
        described["headers"] = {"Retry-After": _header("Seconds after which a retry makes sense.", "integer")}
    return described


def _header(description: str, kind: str = "string") -> Json:
    return {"description": description, "schema": {"type": kind}}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": {"type": "string"} | ({"pattern": f"^{parameter.pattern}$"} if parameter.pattern else {}),
    }
