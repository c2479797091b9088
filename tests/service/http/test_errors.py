"""Errors in the form that each client reads."""

from __future__ import annotations

import logging
import re

import pytest
from flask.testing import FlaskClient

from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.visitor import JSON, ask

ID_HEADER = "X-Request-Id"


@pytest.fixture
def broken(
    application: Application, faked: ServedModel, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> FlaskClient:
    """A visitor of a service whose model fails for an unknown reason."""
    engine.error = RuntimeError("the secret reason in /a/secret/place")
    return application(faked).test_client()


def test_a_text_client_gets_one_short_sentence(client: FlaskClient) -> None:
    response = client.post("/chatbot", data="{}")
    assert response.status_code == 422
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.text == (
        'The field prompt is missing; send an object such as {"prompt": "Hello, how are you today?"}.'
    )


def test_a_json_client_gets_a_problem_document(client: FlaskClient) -> None:
    response = client.post("/chatbot", data="{}", headers=JSON)
    assert response.status_code == 422
    assert response.mimetype == "application/problem+json"
    assert response.json == {
        "type": "about:blank",
        "title": "invalid_prompt",
        "status": 422,
        "detail": 'The field prompt is missing; send an object such as {"prompt": "Hello, how are you today?"}.',
    }


def test_an_openai_client_gets_its_error_object(client: FlaskClient) -> None:
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert response.mimetype == "application/json"
    assert response.json is not None
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"message", "type", "param", "code"}
    assert response.json["error"]["type"] == "invalid_request_error"
    assert response.json["error"]["message"].startswith("There is nothing at /v1/nothing")


@pytest.mark.parametrize("path", ["/nothing", "/chatbot/", "/sessions/", "/%00", "/%ff", "/<script>alert(1)</script>"])
def test_an_unknown_path_is_a_404_that_names_the_chat(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.mimetype == "text/plain"
    assert "POST /chatbot" in response.text


def test_a_wrong_method_is_a_405_that_names_the_right_ones(client: FlaskClient) -> None:
    response = client.get("/chatbot")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert response.text == "/chatbot does not take GET."
    assert client.post("/readyz").status_code == 405


def test_an_unknown_failure_is_opaque_to_the_client_and_explained_in_the_log(
    broken: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="service"):
        response = ask(broken)
    assert response.status_code == 500
    assert response.text == f"Something went wrong here; the request id is {response.headers[ID_HEADER]}."
    assert "secret" not in response.text
    assert response.headers[ID_HEADER] in caplog.text
    assert "the secret reason" in caplog.text


def test_an_unknown_failure_is_opaque_to_json_clients_too(broken: FlaskClient) -> None:
    response = ask(broken, headers=JSON)
    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    assert "secret" not in response.text


def test_a_request_id_is_echoed(client: FlaskClient) -> None:
    for given in ("a", "trace-1.2_3", "A" * 128):
        for path in ("/livez", "/nothing"):
            assert client.get(path, headers={ID_HEADER: given}).headers[ID_HEADER] == given


@pytest.mark.parametrize("given", [None, "", "A" * 129, "two words", "a;b", "<script>", "é", "{{7*7}}", "a\tb", "%0a"])
def test_a_missing_or_hostile_request_id_is_replaced(client: FlaskClient, given: str | None) -> None:
    headers = {} if given is None else {ID_HEADER: given}
    ids = {client.get("/livez", headers=headers).headers[ID_HEADER] for _ in range(3)}
    assert len(ids) == 3
    assert given not in ids
    assert all(re.fullmatch(r"[0-9a-f]{16}", an_id) for an_id in ids)


def test_errors_can_be_read_by_pages_of_other_origins(client: FlaskClient) -> None:
    response = client.post("/chatbot", data="no JSON", headers={"Origin": "https://page.example"})
    assert response.status_code == 400
    assert response.headers["Access-Control-Allow-Origin"] in {"*", "https://page.example"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
