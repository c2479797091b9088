"""What all request bodies have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.errors import BadRequest, InvalidPrompt

Model = TypeVar("Model", bound=BaseModel)


def read_json(body: bytes, *, example: str) -> Any:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: it is not JSON, or not UTF-8; the message shows the example.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise BadRequest(f"The body is nested too deeply; send a JSON object such as {example}.") from None
    except UnicodeDecodeError:
        raise BadRequest(f"The body is not UTF-8; send a JSON object in UTF-8 such as {example}.") from None
    except ValueError:
        raise BadRequest(f"The body is not valid JSON; send an object such as {example}.") from None


def read_object(body: bytes, model: type[Model], *, example: str, expected: Mapping[str, str]) -> Model:
    """Read a body as a JSON object of one shape.

    Args:
        body: of the request.
        model: the shape.
        example: of such an object.
        expected: what each field must be.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape; the message names the field.
    """
    content = read_json(body, example=example)
    if not isinstance(content, dict):
        raise InvalidPrompt(f"The body must be a JSON object such as {example}.")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InvalidPrompt(_sentence(error, example, expected)) from None


def _sentence(error: ValidationError, example: str, expected: Mapping[str, str]) -> str:
    problem = error.errors()[0]
    field = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"The field {field} is missing; send an object such as {example}."
    if problem["type"] == "string_unicode":
        return f"The field {field} holds half of a surrogate pair; send whole Unicode characters."
    return f"The field {field} must be {expected[field]}; send an object such as {example}."


def _off(value: bool) -> bool:
    if value:
        raise PydanticCustomError("not_off", "not false")
    return value


def _whole_number(value: object) -> object:
    """JSON knows no difference between 5 and 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_characters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_whole_characters)]
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
# Beside `int` and what else is asked of it.
WHOLE = BeforeValidator(_whole_number)
