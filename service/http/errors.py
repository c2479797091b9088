"""How errors look to the client that caused them."""

from __future__ import annotations

import logging
from typing import Any, Literal
from urllib.parse import quote

from flask import Flask, Response, g, jsonify, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException

from service.errors import EngineFault, InvalidKey, ServiceError
from service.http import paths
from service.metrics import Metrics

logger = logging.getLogger(__name__)


ErrorType = Literal["invalid_request_error", "rate_limit_error", "server_error"]


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str = Field(description="One sentence that names what is wrong and what would be right.")
    type: ErrorType
    param: str | None = Field(description="The field that is wrong, such as messages.0.content.")
    code: str | None = Field(description="Short machine-readable name.")


class ErrorBody(BaseModel):
    """Body of every error under `/v1`."""

    error: ErrorObject


class Problem(BaseModel):
    """An error elsewhere, for clients that accept JSON (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="Short machine-readable name.")
    status: int
    detail: str = Field(description="One sentence that names what is wrong and what would be right.")


def register(app: Flask, metrics: Metrics) -> None:
    """Answer every error of the application with one short sentence in the form that the client reads, and count it."""

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        metrics.failed(error)
        error = traceable(error, g.request_id)
        response = render(str(error), error.status, error.code, error.param)
        if error.retry_after_s is not None:
            response.headers["Retry-After"] = str(error.retry_after_s)
        if isinstance(error, InvalidKey):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        response = render(_sentence(error, status), status, error.name.lower().replace(" ", "_"))
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def unknown_error(_: Exception) -> Response:
        logger.exception("request %s failed", g.request_id)
        error = unforeseen(g.request_id)
        metrics.failed(error)
        return render(str(error), error.status, error.code)


def render(message: str, status: int, code: str, param: str | None = None) -> Response:
    """One error as OpenAI's object under `/v1`, problem+json for JSON clients, a plain sentence otherwise."""
    if _openai_client():
        response = jsonify(openai_error(message, status, code, param))
    elif wants("application/json"):
        response = jsonify(problem(message, status, code))
        response.mimetype = "application/problem+json"
    else:
        response = Response(message, mimetype="text/plain")
    response.status_code = status
    return response


def problem(message: str, status: int, code: str) -> dict[str, Any]:
    """An error as problem+json has it (RFC 9457)."""
    return Problem(title=code, status=status, detail=message).model_dump()


def openai_error(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """An error as clients of OpenAI's API read it."""
    kind: ErrorType = "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    return ErrorBody(error=ErrorObject(message=message, type=kind, param=param, code=code)).model_dump()


def unforeseen(request_id: str) -> ServiceError:
    """An error whose details stand in the log, under the request's id."""
    return ServiceError(f"Something went wrong here; the request id is {request_id}.")


def traceable(error: ServiceError, request_id: str) -> ServiceError:
    """An error as its client is told; the cause of a fault stands in the log, under the request's id."""
    if not isinstance(error, EngineFault):
        return error
    logger.error("the reply of request %s failed: %r", request_id, error.__cause__)
    return EngineFault(f"{error} The request id is {request_id}.")


def wants(mimetype: str) -> bool:
    """Whether the client asked for this form of a reply and would rather have it than plain text."""
    forms = ["text/plain", "application/json", "text/event-stream"]
    return request.accept_mimetypes.best_match(forms) == mimetype


def _openai_client() -> bool:
    routed = request.routing_exception is None
    return paths.below_openai(request.path) if routed else paths.meant_openai(request.path)


def _sentence(error: HTTPException, status: int) -> str:
    if status == 404:
        return f"There is nothing at {quote(request.path)}; {paths.advice(request.path)}."
    if status == 405:
        return f"{quote(request.path)} does not take {request.method}."
    return error.description or error.name
