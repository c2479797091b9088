"""The OpenAPI document says what there is, and the page to try it is served whole."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.serving.model_host import ServedModel
from tests.service.conftest import Application


@pytest.fixture
def app(application: Application, faked: ServedModel) -> Flask:
    return application(faked, max_prompt_chars=777, max_body_bytes=4321)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_every_route_is_documented_and_none_besides(app: Flask, client: FlaskClient) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/static/")
    }
    document = client.get("/openapi.json").get_json()
    documented = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert documented == served


def test_every_reference_leads_somewhere(client: FlaskClient) -> None:
    response = client.get("/openapi.json")
    schemas = response.get_json()["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/(\w+)"', response.text))
    assert named
    assert named <= set(schemas)


def test_it_names_the_limits_of_this_service(client: FlaskClient) -> None:
    description = client.get("/openapi.json").get_json()["info"]["description"]
    assert "777 characters" in description
    assert "4,321 bytes" in description


def test_the_page_brings_all_it_needs(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype html>", "")
    for path in re.findall(r'(?:src|href)="([^"]*)"', page.text):
        response = client.get(f"/{path}")
        assert response.status_code == 200, path
        assert len(response.data) > 50
        response.close()
