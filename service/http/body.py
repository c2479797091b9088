"""The body of a request: read up to its limit, and as JSON whatever its content type says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from service.errors import BadRequest, InvalidPrompt, PayloadTooLarge, UnsupportedEncoding

Model = TypeVar("Model", bound=BaseModel)

MAX_SHOWN_CHARS = 60

# The paths of messages, and all that have a body.
MESSAGES = frozenset({"/chatbot", "/v1/chat/completions"})
COUNTS = "/tokenize"
BODIES = MESSAGES | {COUNTS}


def read_body(limit: int) -> bytes:
    """Read the body of the request at hand.

    Raises:
        PayloadTooLarge: it has more than `limit` bytes; no more than that are read.
        UnsupportedEncoding: it is compressed.
    """
    too_large = PayloadTooLarge(f"The body is larger than {limit} bytes; send less text.")
    if (request.content_length or 0) > limit:
        raise too_large
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise too_large
    encoding = request.headers.get("Content-Encoding", "")
    # Some clients name a charset there, which is no reason to refuse what can be read.
    if encoding.strip().lower() not in {"", "identity"} and not _readable(body):
        raise UnsupportedEncoding(
            f"The body has the Content-Encoding {json.dumps(encoding[:MAX_SHOWN_CHARS])}, which is not supported; "
            "send it uncompressed."
        )
    return body


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


def check_length(prompt: str, max_chars: int) -> None:
    """Refuse what is too long.

    Raises:
        PayloadTooLarge: naming both numbers.
    """
    if len(prompt) > max_chars:
        raise PayloadTooLarge(
            f"The prompt has {len(prompt)} characters and the limit is {max_chars}; send a shorter one."
        )


def _readable(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _sentence(error: ValidationError, example: str, expected: Mapping[str, str]) -> str:
    problem = error.errors()[0]
    field = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"The field {field} is missing; send an object such as {example}."
    if problem["type"] == "string_unicode":
        return f"The field {field} holds an unpaired surrogate; send whole Unicode characters."
    return f"The field {field} must be {expected[field]}; send an object such as {example}."
