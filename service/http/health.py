"""`/livez`, `/readyz` and `/health`: what load balancers ask, without a key."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from service.errors import NotReady
from service.http.operation import JSON, Operation, Reply, describe
from service.serving.runtime import Runtime

HEALTH = frozenset({"/livez", "/readyz", "/health"})


class Alive(BaseModel):
    """The process lives."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Messages are answered."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="Name of the model served.")
    notice: str = Field(description="A warning for its users; empty for none.")


class NotReadyYet(BaseModel):
    """Messages are refused for now."""

    status: Literal["not ready"] = "not ready"
    reason: str


ALIVE = Operation("Whether the process lives", Reply("It does.", {JSON: Alive}), is_open=True)
READY = Operation(
    "Whether messages are answered", Reply("They are.", {JSON: Ready}), not_ready=NotReadyYet, is_open=True
)


def blueprint(runtime: Runtime) -> Blueprint:
    """The routes, bound to the state they report."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    @describe(ALIVE)
    def alive() -> Response:
        return jsonify(Alive().model_dump())

    @routes.get("/readyz")
    @routes.get("/health", endpoint="health")
    @describe(READY)
    def ready() -> Response:
        try:
            model = runtime.host.model
        except NotReady as error:
            response = jsonify(NotReadyYet(reason=runtime.host.state).model_dump())
            response.status_code = error.status
            response.headers["Retry-After"] = str(error.retry_after_s)
            return response
        return jsonify(Ready(model=model.manifest.name, notice=model.notice).model_dump())

    return routes
