"""The Flask application."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from flask_cors import CORS

from service.api import chatbot, completions, docs, limits, openai, ops, problems, sessions
from service.metrics import Metrics
from service.runtime import Runtime

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
EXPOSED_HEADERS = ["X-Session-Id", REQUEST_ID_HEADER, "Retry-After", "Server-Timing", "Idempotent-Replayed"]
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(runtime: Runtime) -> Flask:
    """Build the application around a runtime, which may still be loading its model."""
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    CORS(app, expose_headers=EXPOSED_HEADERS)
    problems.register(app, runtime.metrics)
    app.register_blueprint(chatbot.blueprint(runtime))
    app.register_blueprint(sessions.blueprint(runtime.store))
    app.register_blueprint(ops.blueprint(runtime))
    app.register_blueprint(docs.blueprint(runtime.config, secured=False))
    app.register_blueprint(openai.blueprint(runtime))
    app.register_blueprint(completions.blueprint(runtime))

    @app.before_request
    def identify() -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        g.started = time.monotonic()
        runtime.metrics.in_progress.inc()

    @app.after_request
    def describe(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = g.request_id
        # A file passed straight through would not tell when it has been sent.
        response.direct_passthrough = False
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        if request.method in {"POST", "DELETE"} or request.path.startswith("/sessions"):
            response.headers.setdefault("Cache-Control", "no-store")
        response.call_on_close(_measure(runtime.metrics, response.status_code))
        return response

    config = runtime.config
    limits.register(app, per_minute=config.client_limit, trusted_proxies=config.trusted_proxies)
    return app


def _measure(metrics: Metrics, code: int) -> Callable[[], None]:
    """Count the request at hand, once its last byte has been written."""
    route = request.url_rule.rule if request.url_rule else "none"
    started = g.started

    def measure() -> None:
        metrics.in_progress.dec()
        metrics.requests.labels(route, str(code)).inc()
        metrics.duration.labels(route).observe(time.monotonic() - started)

    return measure
