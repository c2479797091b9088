"""The Flask application."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from flask import Flask, Response, g, request

from service.http import (
    access_log,
    body,
    chatbot,
    completions,
    cors,
    docs,
    errors,
    health,
    hosts,
    keys,
    limits,
    metrics,
    models,
    page,
    paths,
    sessions,
    tokenize,
)
from service.http.proxies import client_address, client_network
from service.serving import server
from service.serving.runtime import Runtime

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(runtime: Runtime) -> Flask:
    """Build the application around a runtime, which may still be loading its model.

    Raises:
        ConfigurationError: the file of API keys cannot be read.
    """
    config = runtime.config
    api_keys = keys.load(config)
    # Templates and static files are those of the package `service`.
    app = Flask("service")
    app.wsgi_app = paths.merge_slashes(app.wsgi_app)  # type: ignore[assignment,method-assign]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    errors.register(app, runtime.metrics)
    app.register_blueprint(chatbot.blueprint(runtime))
    app.register_blueprint(tokenize.blueprint(runtime))
    app.register_blueprint(sessions.blueprint(runtime.store))
    app.register_blueprint(completions.blueprint(runtime))
    app.register_blueprint(models.blueprint(runtime))
    app.register_blueprint(health.blueprint(runtime))
    app.register_blueprint(metrics.blueprint(runtime.metrics))
    app.register_blueprint(page.blueprint(runtime))
    app.register_blueprint(docs.blueprint(config, secured=bool(api_keys)))

    line_limit = access_log.LineLimit()

    @app.before_request
    def identify() -> None:
        request_id = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = request_id if REQUEST_ID.fullmatch(request_id) else secrets.token_hex(8)
        access_log.begin(runtime.metrics, g.request_id)
        g.client = client_network(client_address(request, config.trusted_proxies))

    @app.after_request
    def describe(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = g.request_id
        # A file passed straight through would not tell when it has been sent.
        response.direct_passthrough = False
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        if request.method in {"POST", "DELETE"} or request.path.startswith("/sessions"):
            response.headers.setdefault("Cache-Control", "no-store")
        access_log.end(runtime.metrics, response, config.trusted_proxies, line_limit)
        return response

    def reads_body(method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the body of a request will be read."""
        admitted = not api_keys or not api_keys.refusal(headers.get("AUTHORIZATION", ""))
        return method == "POST" and path in body.BODIES and admitted

    def kind(path: str) -> str:
        """Which threads answer the requests for a path."""
        return server.MESSAGES if path in body.MESSAGES else server.HEALTH if path in health.HEALTH else server.OTHERS

    app.extensions[server.READS_BODY] = reads_body
    app.extensions[server.KIND] = kind
    hosts.register(app, host=config.host, origins=config.cors_origins, trusted_proxies=config.trusted_proxies)
    cors.register(app, config.cors_origins)
    keys.register(app, api_keys)
    limits.register(app, per_minute=config.client_limit)
    return app
