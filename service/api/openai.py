"""`/v1`: the part of the OpenAI API that clients use to see which model is served."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify

from service.runtime import Runtime


def blueprint(runtime: Runtime) -> Blueprint:
    """The routes, bound to the model they describe."""
    routes = Blueprint("openai", __name__, url_prefix="/v1")

    @routes.get("/models")
    def models() -> Response:
        model = runtime.model
        manifest = model.manifest
        entry = {
            "id": manifest.name,
            "object": "model",
            "created": int(datetime.fromisoformat(manifest.created).timestamp()),
            "owned_by": manifest.source,
            "precision": manifest.quantization["precision"],
            "notice": " ".join(filter(None, (manifest.notice, model.reason))),
        }
        return jsonify({"object": "list", "data": [entry]})

    return routes
