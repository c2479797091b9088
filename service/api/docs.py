"""`/openapi.json` and `/docs`: what the service can be asked, and a page to try it, without anything from elsewhere."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from flask import Blueprint, Response, jsonify, make_response, render_template, send_from_directory

from service.api.specification import specification
from service.config import ServiceConfig

# Swagger UI writes its styles into the page and holds its pictures in them.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
)
DISTRIBUTION = "flask-openapi3-swagger"
FOLDER = "flask_openapi3_swagger/templates/swagger"
FILES = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}


def blueprint(config: ServiceConfig, *, secured: bool) -> Blueprint:
    """The routes, bound to the settings that the document names."""
    routes = Blueprint("docs", __name__)
    document = specification(config, secured=secured)
    assets = Path(str(distribution(DISTRIBUTION).locate_file(FOLDER)))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    @routes.get("/docs")
    def docs() -> Response:
        response = make_response(render_template("docs.html"))
        response.headers["Content-Security-Policy"] = POLICY
        return response

    for name, folder in FILES.items():
        routes.add_url_rule(
            f"/static/docs/{name}",
            f"docs_{folder}",
            lambda folder=folder, name=name: send_from_directory(assets / folder, name),
        )
    return routes
