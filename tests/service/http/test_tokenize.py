"""How much of the model's window a conversation takes, and a message before it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.chat.prompt import PromptFormat
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask, ask_json, turns

LONG = " ".join(f"word{number}" for number in range(200))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def count(client: FlaskClient, **fields: object) -> dict[str, Any]:
    response = client.post("/tokenize", data=json.dumps(fields))
    assert response.status_code == 200, response.text
    content = response.get_json()
    assert isinstance(content, dict)
    return content


def test_it_says_what_the_next_reply_then_says_it_was(client: FlaskClient) -> None:
    session = ask_json(client, "My name is Anna.")["session_id"]
    for message in ("Who am I?", LONG, *[f"This is message number {number}" for number in range(6)], "And now?"):
        told = count(client, session_id=session, prompt=message)
        reply = ask_json(client, message, session_id=session)
        assert told["prompt_tokens"] == reply["usage"]["prompt_tokens"]
        assert told["truncated_turns"] == reply["truncated_turns"]
        assert told["truncated_tokens"] == reply["truncated_tokens"]
        assert told["window"] == 128
    assert told["truncated_turns"] > 0


def test_without_a_message_it_is_what_the_conversation_takes(client: FlaskClient, prompt_format: PromptFormat) -> None:
    session = ask_json(client, "My name is Anna.")["session_id"]
    ask(client, "Who am I?", session_id=session)
    expected = prompt_format.encode(turns(client, session))
    for nothing in ({}, {"prompt": ""}, {"prompt": None}):
        told = count(client, session_id=session, **nothing)
        assert told["prompt_tokens"] == len(expected.ids)
        assert told["truncated_turns"] == 0


def test_a_message_that_will_be_cut_is_known_before_it_is_sent(client: FlaskClient) -> None:
    told = count(client, prompt=LONG)
    assert told["prompt_tokens"] == 128
    assert told["truncated_tokens"] == ask_json(client, LONG)["truncated_tokens"] > 100


def test_what_is_to_be_replaced_does_not_count(client: FlaskClient) -> None:
    session = ask_json(client, "My name is Anna.")["session_id"]
    ask(client, LONG, session_id=session)
    told = count(client, session_id=session, prompt="Who am I?", replace=2)
    reply = ask_json(client, "Who am I?", session_id=session, replace=2)
    assert told["prompt_tokens"] == reply["usage"]["prompt_tokens"]
    late = client.post("/tokenize", data=json.dumps({"session_id": session, "prompt": "x", "replace": 2}))
    assert late.status_code == 409


def test_nothing_is_stored_or_computed(client: FlaskClient, engine: FakeEngine) -> None:
    session = ask_json(client, "Hello")["session_id"]
    count(client, session_id=session, prompt="Not said")
    fresh = client.application.test_client()
    count(fresh, prompt="Not said")
    assert turns(client, session)[0::2] == ["Hello"]
    assert len(engine.model.sources) == 1
    assert fresh.get_cookie("session_id") is None


def test_the_conversation_is_found_as_for_a_message(client: FlaskClient) -> None:
    session = ask_json(client, "My name is Anna.")["session_id"]
    alone = count(client.application.test_client(), prompt="Hi")["prompt_tokens"]
    stranger = client.application.test_client()
    header = stranger.post("/tokenize", data='{"prompt": "Hi"}', headers={"X-Session-Id": session}).get_json()
    body = count(stranger, prompt="Hi", session_id=session)
    cookie = count(client, prompt="Hi")
    assert header == body == cookie
    assert body["prompt_tokens"] > alone
    assert client.post("/tokenize", data='{"session_id": "gone"}').status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"", 400, "not valid JSON"),
        (b"[]", 422, "must be a JSON object"),
        (b'{"prompt": 5}', 422, "prompt must be a string"),
        (b'{"prompt": "\\ud800"}', 422, "surrogate"),
        (b'{"session_id": ""}', 422, "session_id must be a string"),
        (b'{"replace": 0}', 422, "replace must be the number"),
        (b'{"replace": 4}', 409, "has no exchange 4 to replace"),
        (b'{"prompt": "' + b"a" * 2001 + b'"}', 413, "limit is 2000"),
        (b'{"prompt": "' + b"a" * 70_000 + b'"}', 413, "larger than 65536 bytes"),
    ],
)
def test_a_bad_body_is_refused_with_one_clear_sentence(
    client: FlaskClient, body: bytes, status: int, named: str
) -> None:
    response = client.post("/tokenize", data=body)
    assert response.status_code == status
    assert named in response.text
    assert response.text.endswith(".")
