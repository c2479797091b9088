"""A service that only this machine can reach is not asked under the names of others."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from service.serving.model_host import ServedModel
from tests.service.conftest import Application

PATHS = ["/", "/livez", "/metrics", "/v1/models", "/openapi.json", "/static/chat.js", "/sessions/some-id", "/nothing"]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "a b"),
        *("evil.example@localhost", "localhost@evil.example", "localhost/evil", "localhost#evil", "localhost:evil"),
        *("localhost\\evil", "[::", "[localhost]", "[::1%25lo]", "127.1", "2130706433", "lo%63alhost", ""),
        *("evil.example.", "localhost..", ".localhost", "."),
    ],
)
@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_foreign_names_are_refused(application: Application, faked: ServedModel, listening: str, host: str) -> None:
    client = application(faked, host=listening).test_client()
    for path in PATHS:
        response = client.get(path, headers={"Host": host})
        assert response.status_code == 421
        assert "--trusted-proxies" in response.text
        response.close()
    assert client.post("/chatbot", json={"prompt": "Hello"}, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.0.0.2", "[::1]:5000", "[::1]", "page.example:8080"),
        *("localhost.", "localhost.:5000", "page.example.:8080"),
    ],
)
def test_our_own_names_are_not(application: Application, faked: ServedModel, host: str) -> None:
    client = application(faked, cors_origins=("https://page.example",)).test_client()
    assert client.get("/livez", headers={"Host": host}).status_code == 200


def test_the_name_is_left_to_trusted_proxies(application: Application, faked: ServedModel) -> None:
    client = application(faked, trusted_proxies=(ip_network("127.0.0.1"),)).test_client()
    assert client.get("/livez", headers={"Host": "chat.example"}).status_code == 200


def test_a_service_for_others_has_any_name(application: Application, faked: ServedModel) -> None:
    client = application(faked, host="0.0.0.0").test_client()
    assert client.get("/livez", headers={"Host": "chat.example"}).status_code == 200
