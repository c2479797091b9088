"""Which pages of other origins may call, as a browser and a cache between would see it."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.visitor import ask

PAGE, OTHER = "https://page.example", "https://other.example"
LOCAL = "http://[::1]:3000"
SENT = "Authorization, Content-Type, Idempotency-Key, X-Session-Id, X-Request-Id, Accept"


def allowed_origin(response: TestResponse) -> str | None:
    values = response.headers.getlist("Access-Control-Allow-Origin")
    assert len(values) < 2
    return values[0] if values else None


def names(response: TestResponse, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers.get(header, "").split(",")}


def preflight(client: FlaskClient, origin: str, headers: str = SENT, path: str = "/chatbot") -> TestResponse:
    return client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
        },
    )


@pytest.fixture
def anyone(application: Application, faked: ServedModel) -> FlaskClient:
    return application(faked).test_client()


@pytest.fixture
def listed(application: Application, faked: ServedModel) -> FlaskClient:
    return application(faked, cors_origins=(PAGE, LOCAL)).test_client()


@pytest.mark.parametrize("origin", [PAGE, "null", None])
def test_by_default_any_page_may_call_without_credentials_and_answers_may_be_cached(
    anyone: FlaskClient, origin: str | None
) -> None:
    response = ask(anyone, headers={"Origin": origin} if origin else {})
    assert allowed_origin(response) == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" not in response.headers.get("Vary", "")


def test_scripts_may_send_what_the_service_reads(anyone: FlaskClient, listed: FlaskClient) -> None:
    for client in (anyone, listed):
        response = preflight(client, PAGE)
        assert response.status_code == 200
        assert names(response, "Access-Control-Allow-Headers") == {name.lower() for name in SENT.split(", ")}
        assert {"get", "post", "delete"} <= names(response, "Access-Control-Allow-Methods")
        assert "put" not in names(response, "Access-Control-Allow-Methods")
        assert int(response.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "headers",
    [
        "authorization,content-type,user-agent",
        "x-stainless-os,x-stainless-retry-count,openai-project,user-agent,authorization",
        "cache-control,x-requested-with,pragma",
        "traceparent,tracestate,baggage,x-datadog-trace-id",
        "http-referer,x-title,api-key,anthropic-version",
        "x-made-up",
    ],
)
def test_a_page_that_may_call_may_send_whatever_headers_its_client_adds(
    anyone: FlaskClient, listed: FlaskClient, headers: str
) -> None:
    for client in (anyone, listed):
        for path in ("/chatbot", "/v1/chat/completions", "/v1/models", "/sessions/x"):
            response = preflight(client, PAGE, headers, path=path)
            assert response.status_code == 200
            assert names(response, "Access-Control-Allow-Headers") == set(headers.split(","))


def test_a_page_may_send_to_a_path_where_nothing_is_and_reads_why(anyone: FlaskClient, listed: FlaskClient) -> None:
    for client in (anyone, listed):
        for path in ("/chat/completions", "/v1/embeddings", "/v1/v1/chat/completions", "/nothing"):
            allowed = preflight(client, PAGE, path=path)
            assert allowed.status_code == 200
            assert allowed_origin(allowed) in {"*", PAGE}
            response = client.post(path, headers={"Origin": PAGE})
            assert response.status_code == 404
            assert allowed_origin(response) in {"*", PAGE}


def test_scripts_may_read_what_the_service_says(anyone: FlaskClient, listed: FlaskClient) -> None:
    for client in (anyone, listed):
        assert names(ask(client, headers={"Origin": PAGE}), "Access-Control-Expose-Headers") == {
            "x-session-id",
            "x-request-id",
            "retry-after",
            "server-timing",
            "idempotent-replayed",
            "www-authenticate",
        }


@pytest.mark.parametrize("origin", [PAGE, LOCAL])
def test_a_listed_page_may_call_with_credentials(listed: FlaskClient, origin: str) -> None:
    for response in (ask(listed, headers={"Origin": origin}), preflight(listed, origin)):
        assert response.status_code == 200
        assert allowed_origin(response) == origin
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers.getlist("Vary").count("Origin") == 1


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "http://page.example",
        f"{PAGE}:8443",
        f"{PAGE}.evil.example",
        "https://pageXexample",
        "https://evil.example/https://page.example",
        "*",
    ],
)
def test_a_page_that_is_not_listed_may_not(listed: FlaskClient, origin: str) -> None:
    for response in (ask(listed, headers={"Origin": origin}), preflight(listed, origin)):
        assert allowed_origin(response) is None
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_where_origins_differ_no_cache_may_mix_them_up(listed: FlaskClient) -> None:
    for headers in ({}, {"Origin": PAGE}, {"Origin": OTHER}):
        for path in ("/readyz", "/", "/static/chat.js", "/no/such/path"):
            with listed.get(path, headers=headers) as response:
                assert "Origin" in response.headers.getlist("Vary"), path


def test_with_none_no_header_speaks_of_other_origins(application: Application, faked: ServedModel) -> None:
    client = application(faked, cors_origins=()).test_client()
    for response in (ask(client, headers={"Origin": PAGE}), preflight(client, PAGE)):
        assert response.status_code == 200
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118
        assert "Vary" not in response.headers
