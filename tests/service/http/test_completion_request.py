"""What a request for a completion may say: each field in range is taken, all else is refused by its name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.errors import InvalidField
from service.http.completion_refusal import NAMES
from service.http.completion_request import ChatCompletionRequest, parse_completion_request
from service.http.models import ANY
from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine

HELLO = {"role": "user", "content": "Hello there"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
TOOL = {"type": "function", "function": {"name": "weather"}}

# Fields beside the messages, status, what `param` names, and what the sentence names.
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"temperature": -0.1}, "temperature", "a number from 0 to 2, and not -0.1"),
    ({"temperature": 2.1}, "temperature", "a number from 0 to 2"),
    ({"temperature": "hot"}, "temperature", 'and not "hot"'),
    ({"temperature": True}, "temperature", "a number from 0 to 2"),
    ({"temperature": float("nan")}, "temperature", "a number from 0 to 2"),
    ({"top_p": 0}, "top_p", "above 0 and up to 1"),
    ({"top_p": 1.01}, "top_p", "above 0 and up to 1"),
    ({"max_tokens": 0}, "max_tokens", "at least 1"),
    ({"max_tokens": 2.5}, "max_tokens", "at least 1"),
    ({"max_completion_tokens": -1}, "max_completion_tokens", "at least 1"),
    ({"seed": 2**63}, "seed", "a whole number of 64 bits"),
    ({"seed": 1.5}, "seed", "a whole number of 64 bits"),
    ({"n": 0}, "n", "from 1 to 8"),
    ({"n": 9, "temperature": 1}, "n", "from 1 to 8"),
    ({"stop": ""}, "stop", "none of them empty"),
    ({"stop": 5}, "stop", "a string or an array"),
    ({"stop": ["a", ""]}, "stop.1", "none of them empty"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "up to 4 strings"),
    ({"stop": "\ud800"}, "stop", "surrogate"),
    ({"ignore_eos": 1}, "ignore_eos", "true or false"),
    ({"stream": "yes"}, "stream", "true or false"),
    ({"logprobs": 0}, "logprobs", "send false"),
    ({"top_logprobs": False}, "top_logprobs", "send 0"),
    ({"store": 0.0}, "store", "send false"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "true or false"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", "false"),
    ({"model": 5}, "model", "GET /v1/models"),
    ({"user": 5}, "user", "a string"),
    ({"metadata": []}, "metadata", "an object"),
    ({"store": True}, "store", "not supported"),
    ({"service_tier": "flex"}, "service_tier", "not supported"),
    ({"logprobs": True}, "logprobs", "not supported"),
    ({"top_logprobs": 3}, "top_logprobs", "not supported"),
    ({"presence_penalty": 0.5}, "presence_penalty", "not supported"),
    ({"frequency_penalty": -0.5}, "frequency_penalty", "not supported"),
    ({"logit_bias": {"50256": -100}}, "logit_bias", "not supported"),
    ({"response_format": {"type": "json_object"}}, "response_format.type", "not supported"),
    ({"tools": [TOOL]}, "tools", "not supported"),
    ({"tool_choice": "required"}, "tool_choice", "not supported"),
    ({"tool_choice": TOOL}, "tool_choice", "not supported"),
    ({"functions": [{"name": "weather"}]}, "functions", "not supported"),
    ({"function_call": {"name": "weather"}}, "function_call", "not supported"),
    ({"modalities": ["text", "audio"]}, "modalities.1", "not supported"),
    ({"audio": {"voice": "ash", "format": "wav"}}, "audio", "not supported"),
    ({"prediction": {"type": "content", "content": "Hello"}}, "prediction", "not supported"),
    ({"reasoning_effort": "high"}, "reasoning_effort", "not supported"),
    ({"verbosity": "low"}, "verbosity", "not supported"),
    ({"web_search_options": {}}, "web_search_options", "not supported"),
    ({"moderation": {}}, "moderation", "not supported"),
    ({"top_k": 5}, "top_k", "unknown"),
    ({"top_k": 0}, "top_k", "unknown"),
    ({"chat_id": "7"}, "chat_id", "unknown"),
    ({"options": {}}, "options", "unknown"),
    ({"guided_choice": []}, "guided_choice", "unknown"),
    ({"echo": False}, "echo", "unknown"),
    ({"Temperature": 1}, "Temperature", "unknown"),
    ({"x" * 1000: 1}, "x" * 60, "unknown"),
]

# Messages, what `param` names, and what the sentence names.
REFUSED_MESSAGES: list[tuple[Any, str, str]] = [
    (None, "messages", "an array of messages"),
    ([], "messages", "an array of messages"),
    ({}, "messages", "an array of messages"),
    ("Hello", "messages", "an array of messages"),
    (["Hello"], "messages.0", "an array of messages"),
    ([{"content": "Hello"}], "messages.0.role", "missing"),
    ([{"role": "user"}], "messages.0.content", "missing"),
    ([{"role": "bot", "content": "Hello"}, HELLO], "messages.0.role", "system, developer, user, assistant,"),
    ([{"role": ["user"], "content": "Hello"}], "messages.0.role", "assistant, tool or function"),
    ([{"role": None, "content": "Hello"}], "messages.0.role", "assistant, tool or function"),
    ([{"role": "user", "content": None}], "messages.0.content", "a string, or an array of text parts"),
    ([{"role": "user", "content": 5}], "messages.0.content", "a string, or an array of text parts"),
    ([{"role": "user", "content": []}], "messages.0.content", "a string, or an array of text parts"),
    ([{"role": "user", "content": ["Hello"]}], "messages.0.content.0", "a string, or an array of text parts"),
    ([{"role": "user", "content": [IMAGE]}], "messages.0.content.0.type", 'and not "image_url"'),
    ([HELLO, {"role": "user", "content": [{"type": "text", "text": "x"}, IMAGE]}], "messages.1.content.1.type", "text"),
    ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text", "missing"),
    ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "messages.0.content.0.text", "a string"),
    ([{"role": "user", "content": "Hello \ud800"}], "messages.0.content", "surrogate"),
    ([{"role": "system", "content": None}, HELLO], "messages.0.content", "a string, or an array of text parts"),
    ([{"role": "developer"}, HELLO], "messages.0.content", "missing"),
    ([{**HELLO, "name": 5}], "messages.0.name", "a string"),
    ([HELLO, {"role": "assistant", "content": 5}, HELLO], "messages.1.content", "a string, or an array of text parts"),
    ([HELLO, {"role": "assistant", "content": [5]}, HELLO], "messages.1.content.0", "a string, or an array"),
    ([HELLO, {"role": "assistant", "content": "\ud800"}, HELLO], "messages.1.content", "surrogate"),
    ([HELLO, {"role": "assistant", "refusal": 5}, HELLO], "messages.1.refusal", "a string"),
]

# Fields that ask for nothing, or for what is done anyway.
TAKEN: list[dict[str, Any]] = [
    {"temperature": None, "top_p": None, "max_tokens": None, "stop": None, "seed": None, "n": None, "stream": None},
    {"temperature": 0, "top_p": 1, "n": 1, "stream": False, "stream_options": None},
    {"temperature": 2, "top_p": 0.1, "seed": -(2**63), "n": 8},
    {"temperature": 0, "top_p": 0.5},
    {"max_tokens": 10**40, "max_completion_tokens": 5},
    {"stop": []},
    {"stop": ["a", "b", "c", "🙂"]},
    {"logprobs": False, "top_logprobs": None, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}},
    {"response_format": {"type": "text"}, "modalities": ["text"], "tools": [], "tool_choice": "none"},
    {"functions": [], "function_call": "auto", "audio": None, "prediction": None, "store": False},
    {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "auto"},
    {"parallel_tool_calls": True, "reasoning_effort": "none", "verbosity": "medium", "web_search_options": None},
    {"model": ANY},
    {"model": None},
    {"n": 3},
    {"n": 2.0, "max_tokens": 5.0, "seed": -17.0, "temperature": 1},
    {"n": 2, "temperature": 0},
    {"stream_options": {"include_usage": True}},
    {"top_k": None, "min_p": None, "guided_json": None, "Temperature": None, "x" * 1000: None},
    {"stream": False, "stream_options": {"include_usage": True, "continuous_usage_stats": False, "colour": None}},
    {"response_format": {"type": "text", "strict": True, "json_schema": None}},
]

# Earlier replies as clients send them back, and what the model reads of them.
KEPT: list[tuple[dict[str, Any], str]] = [
    ({"content": None}, ""),
    ({"content": []}, ""),
    ({"content": ""}, ""),
    ({}, ""),
    ({"content": "Hi!", "refusal": None, "parsed": None}, "Hi!"),
    ({"content": "Hi!", "refusal": None, "annotations": [], "audio": None, "tool_calls": None}, "Hi!"),
    (
        {"content": "Hi!", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}]},
        "Hi!",
    ),
    ({"content": "Hi!", "reasoning_content": "They greet me.", "id": 41, "opts": {"visible": True}}, "Hi!"),
    ({"content": "Hi!", "name": None, "metadata": None, "options": []}, "Hi!"),
    ({"content": ["Hi", "you!"]}, "Hi you!"),
    ({"content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "you!", "annotations": []}]}, "Hi you!"),
    ({"content": [{"type": "output_text", "text": "Hi!", "annotations": [], "logprobs": []}]}, "Hi!"),
    ({"content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "Hi!"}]}, "Hi!"),
    ({"content": [{"type": "reasoning", "text": "They greet me."}, {"type": "text", "text": "Hi!"}]}, "Hi!"),
    ({"content": [{"type": "text", "text": None}]}, ""),
    ({"content": None, "refusal": "I would rather not."}, "I would rather not."),
    ({"content": [{"type": "refusal", "refusal": "I would rather not."}]}, "I would rather not."),
    ({"content": None, "audio": {"id": "a"}}, ""),
    ({"content": None, "tool_calls": [TOOL | {"id": "a"}]}, ""),
    ({"content": "One moment.", "tool_calls": [TOOL | {"id": "a"}]}, "One moment."),
    ({"content": None, "function_call": {"name": "weather", "arguments": "{}"}}, ""),
    ({"content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]}, ""),
]

# What users and operators say, as clients write it.
ASKED: list[dict[str, Any]] = [
    HELLO,
    {**HELLO, "metadata": None, "options": None},
    {**HELLO, "reasoning_content": None, "tool_calls": None, "refusal": None},
    {**HELLO, "id": 41, "opts": {"visible": True}, "createdAt": "2026-01-01", "parts": [{"type": "text"}]},
    {**HELLO, "content": [{"type": "text", "text": "Hello there"}]},
    {**HELLO, "content": [{"type": "text", "text": "Hello there", "cache_control": {"type": "ephemeral"}}]},
    {**HELLO, "content": [{"type": "text", "text": "Hello there", "role": "user", "refusal": None, "id": None}]},
]

# What tools returned, of which the model is told nothing.
RETURNED: list[dict[str, Any]] = [
    {"role": "tool", "content": "5", "tool_call_id": "a"},
    {"role": "tool", "content": [{"type": "text", "text": "5"}], "tool_call_id": "a", "name": "weather"},
    {"role": "tool", "content": None},
    {"role": "function", "name": "weather", "content": "5"},
]

# Conversations, and the turns that the model reads.
CONVERSATIONS: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([HELLO], ["Hello there"]),
    (
        [{"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "you"}]}],
        ["Hello you"],
    ),
    (
        [
            {"role": "developer", "content": "Be kind."},
            {**HELLO, "name": "Ann"},
            {"role": "assistant", "content": "Hi!", "refusal": None, "annotations": [], "tool_calls": None},
            {"role": "user", "content": "And you?"},
        ],
        ["Be kind.", "Hello there", "Hi!", "And you?"],
    ),
    ([{"role": "assistant", "content": "Welcome!"}, HELLO], ["Welcome!", "Hello there"]),
]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def post(client: FlaskClient, body: Mapping[str, Any] | bytes) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/v1/chat/completions", data=data)


def refusal(response: TestResponse) -> dict[str, Any]:
    """The error object, which has the form that clients expect."""
    content = response.get_json()
    assert set(content) == {"error"}
    error = content["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    assert len(error["message"]) < 300
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize(("fields", "param", "named"), REFUSED, ids=[str(case[0])[:60] for case in REFUSED])
def test_a_field_that_asks_for_too_much_is_refused_by_name(
    client: FlaskClient, fields: dict[str, Any], param: str, named: str
) -> None:
    response = post(client, {"messages": [HELLO], **fields})
    assert response.status_code == 400
    error = refusal(response)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert named in error["message"]


@pytest.mark.parametrize(("messages", "param", "named"), REFUSED_MESSAGES)
def test_messages_that_make_no_conversation_are_refused_by_place(
    client: FlaskClient, messages: Any, param: str, named: str
) -> None:
    response = post(client, {"messages": messages})
    assert response.status_code == 400
    error = refusal(response)
    assert error["param"] == param
    assert named in error["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "not valid JSON"),
        (b"messages=Hello", "not valid JSON"),
        (b'{"messages": ' + b"9" * 5_000 + b"}", "not valid JSON"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"messages":' * 4_000, "nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "The field messages is missing"),
        (b'{"messages": [], "\\ud800": 1}', "The body holds an unpaired surrogate"),
        (b'{"prompt": "Hello"}', ""),
    ],
)
def test_a_body_of_another_kind_is_a_400(client: FlaskClient, body: bytes, named: str) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert named in refusal(response)["message"]


def test_each_field_has_its_sentence() -> None:
    fields = set(ChatCompletionRequest.model_json_schema()["properties"])
    for part in ChatCompletionRequest.model_json_schema()["$defs"].values():
        fields |= set(part["properties"])
    assert fields == NAMES


@pytest.mark.parametrize("fields", TAKEN)
def test_a_field_that_asks_for_nothing_is_taken(client: FlaskClient, fields: dict[str, Any]) -> None:
    response = post(client, {"messages": [HELLO], **fields})
    assert response.status_code == 200, response.text
    assert len(response.get_json()["choices"]) == (fields.get("n") or 1)


@pytest.mark.parametrize(("messages", "turns"), CONVERSATIONS)
def test_a_conversation_becomes_turns(client: FlaskClient, messages: list[dict[str, Any]], turns: list[str]) -> None:
    assert post(client, {"messages": messages}).status_code == 200
    body = json.dumps({"messages": messages}).encode()
    assert parse_completion_request(body, max_prompt_chars=100).task.turns == turns


def turns_of(messages: list[dict[str, Any]]) -> list[str]:
    body = json.dumps({"messages": messages}).encode()
    return parse_completion_request(body, max_prompt_chars=100).task.turns


@pytest.mark.parametrize(("fields", "said"), KEPT, ids=[str(fields)[:60] for fields, _ in KEPT])
def test_a_reply_that_comes_back_in_any_form_is_what_was_said_in_it(
    client: FlaskClient, fields: dict[str, Any], said: str
) -> None:
    messages = [HELLO, {"role": "assistant", **fields}, {"role": "user", "content": "Still there?"}]
    response = post(client, {"messages": messages})
    assert response.status_code == 200, response.text
    plain = [HELLO, {"role": "assistant", "content": said}, {"role": "user", "content": "Still there?"}]
    assert turns_of(messages) == turns_of(plain)
    assert turns_of(messages) == (["Hello there", said, "Still there?"] if said else ["Hello there Still there?"])


@pytest.mark.parametrize("role", ["user", "system", "developer"])
@pytest.mark.parametrize("message", ASKED, ids=[str(message)[34:90] for message in ASKED])
def test_fields_of_a_message_that_are_not_known_are_passed_over(
    client: FlaskClient, message: dict[str, Any], role: str
) -> None:
    messages = [{**message, "role": role}]
    response = post(client, {"messages": messages})
    assert response.status_code == 200, response.text
    assert turns_of(messages) == ["Hello there"]


@pytest.mark.parametrize("result", RETURNED, ids=str)
def test_what_tools_returned_is_no_turn(client: FlaskClient, result: dict[str, Any]) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL | {"id": "a"}]}
    reply = {"role": "assistant", "content": "Hi!"}
    for rest, turns in (([], ["Hello there"]), ([reply, HELLO], ["Hello there", "Hi!", "Hello there"])):
        messages: list[dict[str, Any]] = [HELLO, call, result, *rest]
        response = post(client, {"messages": messages})
        assert response.status_code == 200, response.text
        assert turns_of(messages) == turns


@pytest.mark.parametrize(
    ("fields", "temperature", "top_p"),
    [
        ({}, 0.0, 1.0),
        ({"temperature": 0}, 0.0, 1.0),
        ({"top_p": 1}, 0.0, 1.0),
        ({"temperature": 0.7}, 0.7, 1.0),
        ({"top_p": 0.9}, 1.0, 0.9),
        ({"temperature": 0.7, "top_p": 0.9}, 0.7, 0.9),
    ],
)
def test_what_is_drawn_at_random_is_what_is_asked_for(
    fields: dict[str, float], temperature: float, top_p: float
) -> None:
    task = parse_completion_request(json.dumps({"messages": [HELLO], **fields}).encode(), max_prompt_chars=100).task
    assert (task.temperature, task.top_p) == (temperature, top_p)


def test_of_two_limits_the_smaller_counts() -> None:
    body = json.dumps({"messages": [HELLO], "max_tokens": 9, "max_completion_tokens": 7}).encode()
    assert parse_completion_request(body, max_prompt_chars=100).task.max_tokens == 7


def test_the_newest_message_has_the_limit_of_prompts_and_older_ones_have_that_of_the_body(client: FlaskClient) -> None:
    long = {"role": "user", "content": "word " * 500}
    response = post(client, {"messages": [HELLO, long]})
    assert response.status_code == 400
    error = refusal(response)
    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
    assert error["param"] == "messages.1.content"
    assert "prompt is too long: the last message has 2500 characters and the limit is 2000" in error["message"]
    taken = post(client, {"messages": [{"role": "system", "content": "word " * 5000}, HELLO]})
    assert taken.get_json()["truncated_turns"] == 1
    response = post(client, {"messages": [{"role": "system", "content": "word " * 20_000}, HELLO]})
    assert response.status_code == 413
    assert "larger than 65536 bytes" in refusal(response)["message"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ""}] * 1500,
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 600,
        [5] * 30_000,
        [{"role": "user", "content": [5] * 30_000}],
    ],
    ids=["empty", "short", "numbers", "parts"],
)
def test_many_messages_are_read_or_refused(messages: list[Any]) -> None:
    body = json.dumps({"messages": [*messages, HELLO]}).encode()
    assert len(body) < 65_536 * 2
    with contextlib.suppress(InvalidField):
        assert parse_completion_request(body, max_prompt_chars=2000).task.turns


@pytest.mark.parametrize("name", ["", "gpt-4o", "Auto", "../secret", "x" * 5000])
def test_an_unknown_model_is_not_found(client: FlaskClient, served: ServedModel, name: str) -> None:
    response = post(client, {"messages": [HELLO], "model": name})
    assert response.status_code == 404
    error = refusal(response)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert served.manifest.name in error["message"]


def test_the_model_has_its_own_name_its_sources_and_auto(client: FlaskClient, served: ServedModel) -> None:
    for name in (served.manifest.name, served.manifest.origin, ANY):
        response = post(client, {"messages": [HELLO], "model": name})
        assert response.get_json()["model"] == served.manifest.name
    entry = client.get(f"/v1/models/{served.manifest.name}").get_json()
    assert entry == client.get("/v1/models").get_json()["data"][0]
    assert client.get(f"/v1/models/{ANY}").get_json() == entry
    missing = client.get("/v1/models/gpt-4o")
    assert missing.status_code == 404
    assert refusal(missing)["code"] == "model_not_found"


def test_a_loading_service_asks_to_try_again(application: Application) -> None:
    response = post(application(None).test_client(), {"messages": [HELLO]})
    assert response.status_code == 503
    assert refusal(response)["type"] == "server_error"
    assert int(response.headers["Retry-After"]) > 0


def test_a_late_reply_is_a_504(application: Application, faked: ServedModel, engine: FakeEngine) -> None:
    engine.gate.clear()
    response = post(application(faked, deadline_s=0.05).test_client(), {"messages": [HELLO]})
    assert response.status_code == 504
    assert refusal(response)["code"] == "deadline_exceeded"


def test_an_unknown_failure_is_opaque(
    client: FlaskClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = RuntimeError("the secret reason")
    response = post(client, {"messages": [HELLO]})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert refusal(response)["code"] == "internal_error"


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_wrong_method_is_a_405(client: FlaskClient, method: str) -> None:
    response = getattr(client, method)("/v1/chat/completions")
    assert response.status_code == 405
    assert refusal(response)["code"] == "method_not_allowed"
