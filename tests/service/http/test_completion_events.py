"""Streams of completions: silence, failures, clients that leave, and how all of it is counted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from service.http import events
from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def post(client: FlaskClient, **fields: Any) -> TestResponse:
    return client.post("/v1/chat/completions", data=json.dumps({"messages": HELLO, **fields}))


def blocks(response: TestResponse) -> list[str]:
    content = b"".join(response.iter_encoded()).decode()
    response.close()
    return content.removesuffix("\n\n").split("\n\n")


def metrics(client: FlaskClient) -> dict[str, float]:
    """Each metric summed over its labels."""
    response = client.get("/metrics")
    response.close()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_a_comment_comes_in_silence(client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_S", 0.05)
    engine.gate.clear()
    response = post(client, stream=True)
    chunks = response.iter_encoded()
    assert b'"role":"assistant"' in next(chunks)
    assert next(chunks) == b": ping\n"
    engine.gate.set()
    assert list(chunks)[-1] == b"data: [DONE]\n\n"
    response.close()


def test_with_comments_or_without_each_blank_line_ends_an_event_with_data(
    client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(content: str) -> list[str]:
        """Data of the events as the standard has them, each of which must have some."""
        *events, rest = content.split("\n\n")
        assert rest == ""
        found = [[line for line in event.split("\n") if not line.startswith(":")] for event in events]
        assert all(len(lines) == 1 and lines[0].startswith("data: ") for lines in found)
        return [lines[0].removeprefix("data: ") for lines in found]

    def said(data: list[str]) -> str:
        """The reply, however it was cut into pieces."""
        *chunks, end = data
        assert end == "[DONE]"
        return "".join(json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks)

    plain = read("\n\n".join(blocks(post(client, stream=True))) + "\n\n")
    monkeypatch.setattr(events, "PING_S", 0.0)
    engine.gate.clear()
    response = post(client, stream=True)
    chunks = response.iter_encoded()
    content = b"".join(next(chunks) for _ in range(3))
    engine.gate.set()
    silent = (content + b"".join(chunks)).decode()
    response.close()
    assert silent.count(": ping\n") >= 2
    assert said(read(silent)) == said(plain) != ""


def test_a_failure_ends_the_stream_with_an_error_object(
    client: FlaskClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.gate.clear()
    response = post(client, stream=True)
    engine.model.poison = 2
    with caplog.at_level("CRITICAL", logger="service"):
        role, last = blocks(response)
    assert '"role":"assistant"' in role
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error.pop("message").startswith("The reply could not be computed; try again. The request id is ")
    assert error == {"type": "server_error", "param": None, "code": "engine_fault"}
    assert metrics(client)["chatbot_failed_total"] == 1


def test_a_late_reply_ends_the_stream_with_an_error_object(
    application: Application, faked: ServedModel, engine: FakeEngine
) -> None:
    engine.gate.clear()
    _, last = blocks(post(application(faked, deadline_s=0.1).test_client(), stream=True))
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline_exceeded"


def test_an_unforeseen_failure_within_a_stream_is_opaque(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("service.chat.completion.ReplyStream.read", fail)
    response = post(client, stream=True)
    with caplog.at_level("ERROR", logger="service"):
        _, last = blocks(response)
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["message"] == f"Something went wrong here; the request id is {response.headers['X-Request-Id']}."
    assert "the secret reason" in caplog.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choices", [1, 3])
def test_replies_are_counted_and_nothing_is_stored(client: FlaskClient, stream: bool, choices: int) -> None:
    before = metrics(client)
    response = post(client, stream=stream, n=choices, temperature=1)
    assert response.data
    response.close()
    after = metrics(client)
    for name, more in (
        ("chatbot_queue_wait_seconds_count", choices),
        ("chatbot_time_to_first_token_seconds_count", choices),
        ("chatbot_time_per_output_token_seconds_count", choices),
        ("chatbot_generated_tokens_total", 2 * choices),
        ("chatbot_sessions", 0),
    ):
        assert after[name] - before[name] == more, name
    assert "X-Session-Id" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert 'route="/v1/chat/completions"' in client.get("/metrics").text


def test_a_reply_that_a_stop_string_ends_is_counted_with_the_time_it_took(client: FlaskClient) -> None:
    whole = post(client).get_json()["choices"][0]["message"]["content"]
    assert post(client, stop=whole[0]).get_json()["usage"]["completion_tokens"] == 1
    found = metrics(client)
    assert found["chatbot_generated_tokens_total"] == 3
    assert found["chatbot_time_per_output_token_seconds_sum"] > 0


def test_a_client_that_leaves_a_stream_is_counted_and_frees_the_engine(app: Flask, engine: FakeEngine) -> None:
    engine.gate.clear()
    response = post(app.test_client(), stream=True, n=3, temperature=1)
    next(response.iter_encoded())
    response.close()
    while engine.running or engine.waiting:
        time.sleep(0.001)
    assert metrics(app.test_client())["chatbot_cancelled_total"] == 1


def test_completions_and_messages_share_the_limit_of_a_client(application: Application, faked: ServedModel) -> None:
    client = application(faked, client_limit=2).test_client()
    assert [ask(client).status_code, post(client).status_code] == [200, 200]
    refused = post(client)
    assert refused.status_code == 429
    assert refused.get_json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
