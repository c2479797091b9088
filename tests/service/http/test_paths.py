"""Paths as clients write them: answered in place where they can be, else a 404 that says how the client is set up."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.serving.model_host import ServedModel
from tests.service.conftest import Application

PROMPT = json.dumps({"prompt": "Hello there"})
MESSAGES = json.dumps({"messages": [{"role": "user", "content": "Hello there"}]})
BASE = "the base URL of OpenAI's clients ends in /v1 here."


@pytest.fixture
def client(application: Application, faked: ServedModel) -> FlaskClient:
    return application(faked).test_client()


def send(client: FlaskClient, path: str, method: str = "POST") -> TestResponse:
    """A request whose path goes as it stands, which is read whole."""
    response = client.open(
        method=method,
        data=PROMPT if "chatbot" in path else MESSAGES,
        headers={"X-Forwarded-Proto": "https"},
        environ_overrides={"PATH_INFO": path},
    )
    assert response.data
    response.close()
    return response


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1//chat/completions"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat//completions"),
        ("POST", "///v1////chat/completions"),
        ("POST", "//chatbot"),
        ("GET", "/v1//models"),
        ("GET", "/v1/models//auto"),
        ("GET", "//livez"),
        ("GET", "//"),
        ("GET", "/static//chat.css"),
    ],
)
def test_doubled_slashes_are_as_good_as_one(client: FlaskClient, method: str, path: str) -> None:
    assert send(client, path, method).status_code == 200


@pytest.mark.parametrize("path", ["/chatbot/", "/v1/chat/completions/", "/v1/models/", "/livez/", "/docs//", "/v1//"])
def test_a_slash_too_many_at_the_end_is_no_redirect(client: FlaskClient, path: str) -> None:
    response = send(client, path)
    assert response.status_code == 404
    assert "Location" not in response.headers
    assert "chat with POST " in response.text


def test_a_doubled_slash_is_no_way_round_the_limit_of_a_client_nor_round_its_key(
    application: Application, faked: ServedModel
) -> None:
    limited = application(faked, client_limit=1).test_client()
    statuses = [send(limited, path).status_code for path in ("//chatbot", "/v1//chat/completions")]
    assert statuses == [200, 429]
    secured = application(faked, api_keys=("a-key-of-the-tests-1",)).test_client()
    assert [send(secured, path, "GET").status_code for path in ("//livez", "//metrics")] == [200, 401]


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/chat/completions/",
        "/completions",
        "/responses",
        "/embeddings",
        "/models",
        "/models/auto",
        "/moderations",
        "/images/generations",
        "/audio/speech",
        "/api/v1/chat/completions",
        "/openai/deployments/auto/chat/completions",
        "/V1/chat/completions",
        "/chatbot/chat/completions",
        "/v1/chat/completions/chat/completions",
        "/v1/chat/completions/models",
        "/v1/chat/chat/completions",
    ],
)
def test_a_client_with_a_wrong_base_url_is_told_the_right_one(client: FlaskClient, path: str) -> None:
    response = client.post(path, data=MESSAGES)
    assert response.status_code == 404
    error = response.get_json()["error"]
    assert error["message"].startswith(f"There is nothing at {path}; ")
    assert error["message"].endswith(BASE)
    assert (error["type"], error["code"]) == ("invalid_request_error", "not_found")


@pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "/v1/v1/models", "/v1/v1"])
def test_a_client_with_v1_twice_in_its_base_url_is_told_so(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "/v1 stands there twice" in response.get_json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/responses", "/v1/completions", "/v1", "/v1/", "/v1/nothing"])
def test_what_is_not_done_below_v1_names_what_is(client: FlaskClient, path: str) -> None:
    response = client.post(path, data=MESSAGES)
    assert response.status_code == 404
    assert response.get_json()["error"]["message"].endswith("chat with POST /v1/chat/completions.")


def test_a_conversation_whose_id_sounds_like_a_path_of_openai_is_told_of_in_plain_text(client: FlaskClient) -> None:
    response = client.get("/sessions/models")
    assert response.status_code == 404
    assert response.mimetype == "text/plain"
