"""`/metrics`: figures for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.http.operation import TEXT, Operation, Reply, Text, describe
from service.metrics import Metrics

OPERATION = Operation("Figures for Prometheus", Reply("In Prometheus' text format.", {TEXT: Text()}))


def blueprint(figures: Metrics) -> Blueprint:
    """The route, bound to what it shows."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @describe(OPERATION)
    def metrics() -> Response:
        return Response(figures.as_text(), content_type=CONTENT_TYPE_LATEST)

    return routes
