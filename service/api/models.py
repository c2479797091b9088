"""`/v1/models`: which model is served, as clients of OpenAI's API ask."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify

from service.errors import UnknownModel
from service.runtime import Runtime, ServedModel
from service.schemas.model_list import Model, ModelList

# Names the model that is served, whichever it is.
ANY = "auto"


def blueprint(runtime: Runtime) -> Blueprint:
    """The routes, bound to the model they describe."""
    routes = Blueprint("models", __name__, url_prefix="/v1")

    @routes.get("/models")
    def models() -> Response:
        return jsonify(ModelList(data=[_described(runtime.model)]).model_dump())

    @routes.get("/models/<path:name>")
    def model(name: str) -> Response:
        served = runtime.model
        check_name(name, served)
        return jsonify(_described(served).model_dump())

    return routes


def check_name(name: str | None, model: ServedModel) -> None:
    """Compare the name that a client asks for with those of the model served: its own, its source's, and `auto`.

    Raises:
        UnknownModel: it is another one, which may be of quite another quality.
    """
    manifest = model.manifest
    if name not in {None, ANY, manifest.name, manifest.origin}:
        raise UnknownModel(
            f'The model {name[:60]} is not served here; send "{manifest.name}", or "{ANY}" for whichever is served.',
            param="model",
        )


def _described(model: ServedModel) -> Model:
    manifest = model.manifest
    return Model(
        id=manifest.name,
        created=int(datetime.fromisoformat(manifest.created).timestamp()),
        owned_by=manifest.origin,
        precision=manifest.quantization["precision"],
        notice=" ".join(filter(None, (manifest.notice, model.reason))),
    )
