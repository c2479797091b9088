"""What operators, load balancers, model lists and browsers are told."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask

HOSTILE = "<script>alert('notice')</script>"


@pytest.fixture
def loading(application: Application) -> FlaskClient:
    """A visitor of a service that has no model yet."""
    return application(None).test_client()


@pytest.fixture
def runtime(faked: ServedModel) -> Runtime:
    return Runtime(ServiceConfig(store="memory"), faked)


@pytest.fixture
def app(runtime: Runtime) -> Flask:
    return create_app(runtime)


def with_notice(served: ServedModel, notice: str, reason: str) -> ServedModel:
    return dataclasses.replace(served, manifest=dataclasses.replace(served.manifest, notice=notice), reason=reason)


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_a_ready_service_says_what_it_serves(client: FlaskClient, served: ServedModel, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.json == {"status": "ready", "model": served.manifest.name, "notice": ""}


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_a_loading_service_is_not_ready_and_says_why(loading: FlaskClient, path: str) -> None:
    response = loading.get(path)
    assert response.status_code == 503
    assert response.json == {"status": "not ready", "reason": "The model is being loaded."}
    assert int(response.headers["Retry-After"]) > 0


def test_a_loading_service_is_alive(loading: FlaskClient) -> None:
    response = loading.get("/livez")
    assert response.status_code == 200
    assert response.json == {"status": "alive"}


def test_messages_to_a_loading_service_are_refused_for_now(loading: FlaskClient) -> None:
    response = ask(loading)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.text == "The model is being loaded. Try again in a few seconds."


def test_a_wrong_message_to_a_loading_service_is_still_a_wrong_message(loading: FlaskClient) -> None:
    assert loading.post("/chatbot", data="no JSON").status_code == 400


def test_the_model_list_of_a_loading_service_is_refused_as_openai_clients_expect(loading: FlaskClient) -> None:
    response = loading.get("/v1/models")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["error"]["type"] == "server_error"
    assert response.json["error"]["code"] == "not_ready"


def test_the_page_of_a_loading_service_says_so(loading: FlaskClient) -> None:
    response = loading.get("/")
    assert response.status_code == 200
    assert "The model is being loaded." in response.text


def test_a_draining_service_is_alive_but_not_ready(app: Flask, runtime: Runtime) -> None:
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    assert runtime.drain(timeout_s=0)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json == {"status": "not ready", "reason": "The service is shutting down."}
    assert client.get("/livez").status_code == 200
    assert "The service is shutting down." in client.get("/").text


def test_a_draining_service_finishes_what_runs_and_refuses_what_comes(
    app: Flask, runtime: Runtime, engine: FakeEngine
) -> None:
    engine.gate.clear()
    statuses: list[int] = []
    running = threading.Thread(target=lambda: statuses.append(ask(app.test_client()).status_code))
    running.start()
    engine.wait_begun()
    assert not runtime.drain(timeout_s=0.01)
    refused = ask(app.test_client())
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "shutting down" in refused.text
    engine.gate.set()
    assert runtime.drain(timeout_s=10)
    running.join()
    assert statuses == [200]


def test_the_model_list_names_the_model(client: FlaskClient, served: ServedModel) -> None:
    response = client.get("/v1/models")
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["object"] == "list"
    (model,) = response.json["data"]
    assert model["id"] == served.manifest.name
    assert model["object"] == "model"
    assert model["owned_by"] == served.manifest.origin
    assert model["precision"] == "int8"
    assert isinstance(model["created"], int)


def test_notice_and_reason_are_shown_wherever_the_model_is_named(application: Application, served: ServedModel) -> None:
    client = application(with_notice(served, "Made up for tests.", "The Hub did not answer.")).test_client()
    expected = "Made up for tests. The Hub did not answer."
    ready, models = client.get("/readyz").json, client.get("/v1/models").json
    assert ready is not None
    assert models is not None
    assert ready["notice"] == expected
    assert models["data"][0]["notice"] == expected
    assert expected in client.get("/").text


def test_the_page_shows_the_model_and_loads_nothing_from_elsewhere(client: FlaskClient, served: ServedModel) -> None:
    response = client.get("/")
    assert response.mimetype == "text/html"
    assert f'<small id="model">{served.manifest.name}</small>' in response.text
    assert "//" not in response.text.replace("<!doctype html>", "")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_the_page_escapes_what_it_shows(application: Application, served: ServedModel) -> None:
    hostile = with_notice(served, HOSTILE, HOSTILE)
    hostile = dataclasses.replace(hostile, manifest=dataclasses.replace(hostile.manifest, name=HOSTILE))
    page = application(hostile).test_client().get("/").text
    assert HOSTILE not in page
    # The name stands in the title and in the head; the notice, of two sentences, in a note and behind a button.
    assert page.count("&lt;script&gt;alert(") == 6


@pytest.mark.parametrize("path", ["/static/chat.js", "/static/chat.css", "/static/icon.svg"])
def test_the_files_of_the_page_are_there(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert path.removeprefix("/") in client.get("/").text
    response.close()


def test_a_page_of_another_origin_may_post_with_its_headers(client: FlaskClient) -> None:
    response = client.options(
        "/chatbot",
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-session-id",
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in {"*", "https://page.example"}
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    allowed = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"content-type", "x-session-id"} <= allowed
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_page_of_another_origin_may_read_the_reply_and_its_headers(
    application: Application, faked: ServedModel
) -> None:
    response = ask(application(faked).test_client(), headers={"Origin": "https://page.example"})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in {"*", "https://page.example"}
    exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
    assert {"X-Session-Id", "X-Request-Id", "Retry-After"} <= exposed
    assert "Access-Control-Allow-Credentials" not in response.headers
