"""What operators and load balancers ask: alive, ready, and the page that people see."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template
from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import NotReady
from service.runtime import Runtime
from service.schemas.health import Alive, NotReadyYet, Ready

HEALTH = frozenset({"/livez", "/readyz", "/health"})


def blueprint(runtime: Runtime) -> Blueprint:
    """The routes, bound to the state they report."""
    routes = Blueprint("ops", __name__)

    @routes.get("/livez")
    def alive() -> Response:
        return jsonify(Alive().model_dump())

    @routes.get("/readyz")
    @routes.get("/health")
    def ready() -> Response:
        try:
            model = runtime.model
        except NotReady as error:
            response = jsonify(NotReadyYet(reason=runtime.state).model_dump())
            response.status_code = error.status
            response.headers["Retry-After"] = str(error.retry_after_s)
            return response
        return jsonify(Ready(model=model.manifest.name, notice=_notice(runtime)).model_dump())

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(runtime.metrics.as_text(), content_type=CONTENT_TYPE_LATEST)

    @routes.get("/")
    def page() -> str:
        try:
            name = runtime.model.manifest.name
        except NotReady:
            name = ""
        return render_template("index.html", name=name, notice=_notice(runtime), state="" if name else runtime.state)

    return routes


def _notice(runtime: Runtime) -> str:
    try:
        model = runtime.model
    except NotReady:
        return ""
    return " ".join(filter(None, (model.manifest.notice, model.reason)))
