"""`/openapi.json` and `/docs`: what the service can be asked, and a page to try it, without anything from elsewhere."""

from __future__ import annotations

import json
from functools import cache, partial
from importlib.metadata import distribution, version
from pathlib import Path

from flask import Blueprint, Response, current_app, make_response, render_template, request

from service.http.document import document
from service.http.operation import HTML, JSON, Operation, Reply, Text, describe
from service.settings import ServiceConfig

# Swagger UI writes its styles into the page and holds its pictures in them.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
)
DISTRIBUTION = "flask-openapi3-swagger"
FOLDER = "flask_openapi3_swagger/templates/swagger"
MIMETYPES = {"css": "text/css", "js": "text/javascript"}
FILES = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}

DOCUMENT = Operation("This document", Reply("An OpenAPI document.", {JSON: Text("object")}), is_open=True)
PAGE = Operation("This document, to try", Reply("A page.", {HTML: Text()}), is_open=True)


def blueprint(config: ServiceConfig, *, secured: bool) -> Blueprint:
    """The routes, bound to the settings that the document names."""
    routes = Blueprint("docs", __name__)
    assets = Path(str(distribution(DISTRIBUTION).locate_file(FOLDER)))

    @cache
    def written() -> str:
        """The document, once all routes are there."""
        return json.dumps(document(current_app, config, secured=secured))

    @routes.get("/openapi.json")
    @describe(DOCUMENT)
    def openapi() -> Response:
        return Response(written(), mimetype=JSON)

    @routes.get("/docs")
    @describe(PAGE)
    def docs() -> Response:
        response = make_response(render_template("docs.html"))
        response.headers["Content-Security-Policy"] = POLICY
        return response

    for name, folder in FILES.items():
        # Read once, and sent from the same bytes to all.
        file = partial(_file, (assets / folder / name).read_bytes(), MIMETYPES[folder])
        routes.add_url_rule(f"/static/docs/{name}", f"docs_{folder}", file)
    return routes


def _file(content: bytes, mimetype: str) -> Response:
    response = Response(content, mimetype=mimetype)
    response.set_etag(version(DISTRIBUTION))
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response
