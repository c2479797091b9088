"""Every metric is there, is read by Prometheus' own parser, and moves."""

from __future__ import annotations

import dataclasses

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.chat.chatbot import Chatbot
from service.chat.prompt import PromptFormat
from service.errors import Cancelled
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service import streams
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask

NAMES = {
    "chatbot_requests_total",
    "chatbot_request_duration_seconds_count",
    "chatbot_requests_in_progress",
    "chatbot_queue_size",
    "chatbot_queue_wait_seconds_count",
    "chatbot_batch_rows",
    "chatbot_time_to_first_token_seconds_count",
    "chatbot_time_per_output_token_seconds_count",
    "chatbot_prompt_tokens_total",
    "chatbot_generated_tokens_total",
    "chatbot_replies_total",
    "chatbot_reply_cache_entries",
    "chatbot_rejected_total",
    "chatbot_cancelled_total",
    "chatbot_sessions",
    "chatbot_model_info",
}


@pytest.fixture
def app(faked: ServedModel) -> Flask:
    return create_app(Runtime(ServiceConfig(store="memory"), faked))


def metrics(client: FlaskClient) -> dict[str, float]:
    """Each metric summed over its labels."""
    response = client.get("/metrics")
    response.close()
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_moves_what_tells_of_replies(app: Flask, stream: bool) -> None:
    client = app.test_client()
    before = metrics(client)
    response = ask(client, stream=stream)
    if stream:
        assert streams.read(response.iter_encoded()).done is not None
    response.close()
    after = metrics(client)
    for name in (
        "chatbot_queue_wait_seconds_count",
        "chatbot_time_to_first_token_seconds_count",
        "chatbot_time_per_output_token_seconds_count",
        "chatbot_sessions",
    ):
        assert after[name] - before[name] == 1, name
    assert after["chatbot_generated_tokens_total"] - before["chatbot_generated_tokens_total"] == 2
    assert after["chatbot_prompt_tokens_total"] > before["chatbot_prompt_tokens_total"]
    assert after["chatbot_requests_total"] - before.get("chatbot_requests_total", 0) == 2
    assert after["chatbot_request_duration_seconds_count"] >= 2
    assert after["chatbot_model_info"] == 1


def test_refused_and_cancelled_requests_are_counted(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    engine.error = Cancelled("gone")
    cancelled, refused = ask(client), client.post("/chatbot", data=b"x" * 70_000)
    assert (cancelled.status_code, refused.status_code) == (499, 413)
    cancelled.close()
    refused.close()
    found = metrics(client)
    assert found["chatbot_cancelled_total"] == 1
    assert found["chatbot_rejected_total"] == 1
    assert set(found) >= NAMES


def test_a_running_request_shows_in_the_gauges(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    engine.gate.clear()
    response = ask(client, stream=True)
    next(response.iter_encoded())
    engine.model.wait_begun()
    found = metrics(app.test_client())
    assert found["chatbot_batch_rows"] == 1
    assert found["chatbot_queue_size"] == 0
    assert found["chatbot_requests_in_progress"] == 2
    engine.gate.set()
    response.close()
    assert metrics(app.test_client())["chatbot_requests_in_progress"] == 1


def test_a_request_that_waits_for_rows_shows_in_the_queue(
    application: Application, faked: ServedModel, engine: FakeEngine, prompt_format: PromptFormat
) -> None:
    narrow = FakeEngine(engine.model, max_rows=1)
    app = application(dataclasses.replace(faked, chatbot=Chatbot(narrow, prompt_format)))
    engine.gate.clear()
    responses = [ask(app.test_client(), stream=True) for _ in range(2)]
    for response in responses:
        next(response.iter_encoded())
    engine.model.wait_begun()
    assert metrics(app.test_client())["chatbot_queue_size"] == 1
    engine.gate.set()
    for response in responses:
        response.close()
    narrow.close()


def test_files_are_counted_when_they_have_been_sent(app: Flask) -> None:
    client = app.test_client()
    response = client.get("/static/chat.js")
    assert response.data
    response.close()
    found = metrics(client)
    assert found["chatbot_requests_in_progress"] == 1
    assert 'route="/static/<path:filename>"' in client.get("/metrics").text


def test_a_stream_that_fails_is_counted_as_failed(
    app: Flask, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    engine.gate.clear()
    response = ask(client, stream=True)
    engine.model.poison = 2
    with caplog.at_level("CRITICAL", logger="service"):
        assert streams.read(response.iter_encoded()).error is not None
    response.close()
    assert metrics(client)["chatbot_failed_total"] == 1


def test_a_path_that_does_not_exist_makes_no_label_of_its_own(app: Flask) -> None:
    client = app.test_client()
    client.get("/no/such/path").close()
    text = client.get("/metrics").text
    assert "/no/such/path" not in text
    assert 'route="none"' in text
