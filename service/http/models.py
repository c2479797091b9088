"""`/v1/models`: which model is served, as clients of OpenAI's API ask."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from service.errors import UnknownModel
from service.http.operation import JSON, Operation, Parameter, Reply, describe
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime

# Names the model that is served, whichever it is.
ANY = "auto"


class Model(BaseModel):
    """The model served."""

    id: str = Field(description="Its name.")
    object: Literal["model"] = "model"
    created: int = Field(description="When it was exported, in seconds since 1970.")
    owned_by: str = Field(description="Hub id or folder that it was exported from.")
    precision: str = Field(description="Of its weights: none, int8 or int4.")
    notice: str = Field(description="A warning for its users; empty for none.")


class ModelList(BaseModel):
    """All models served: one."""

    object: Literal["list"] = "list"
    data: list[Model]


LIST = Operation("The model that is served", Reply("A list of one.", {JSON: ModelList}), errors=(503,))
DESCRIBE = Operation(
    "The model of a name",
    Reply("The model.", {JSON: Model}),
    parameters=[Parameter("name", "path", "As in the list.")],
    errors=(404, 503),
)


def blueprint(runtime: Runtime) -> Blueprint:
    """The routes, bound to the model they describe."""
    routes = Blueprint("models", __name__, url_prefix="/v1")

    @routes.get("/models")
    @describe(LIST)
    def list_models() -> Response:
        return jsonify(ModelList(data=[_described(runtime.host.model)]).model_dump())

    @routes.get("/models/<path:name>")
    @describe(DESCRIBE)
    def describe_model(name: str) -> Response:
        served = runtime.host.model
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
        notice=model.notice,
    )
