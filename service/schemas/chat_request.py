"""Body of `POST /chatbot`."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.chat.prompt import clean
from service.errors import InvalidPrompt, PayloadTooLarge
from service.schemas.body import Text, read_json

# Whatever `clean` leaves something of: one character that is neither space nor control.
SOMETHING = r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
EXAMPLE = '{"prompt": "Hello, how are you today?"}'


class ChatRequest(BaseModel):
    """Body of `POST /chatbot`."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"examples": [json.loads(EXAMPLE)]}
    )

    prompt: Text = Field(description="What the user says.", json_schema_extra={"pattern": SOMETHING})
    session_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="Conversation to go on with, as given in X-Session-Id."
    )
    stream: bool | None = Field(
        default=False, description="Whether the reply comes piece by piece, as server-sent events."
    )


def parse_chat_request(body: bytes, *, max_prompt_chars: int) -> ChatRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape, or a prompt with nothing in it.
        PayloadTooLarge: a prompt over its limit.
    """
    content = read_json(body, example=EXAMPLE)
    if not isinstance(content, dict):
        raise InvalidPrompt(f"The body must be a JSON object such as {EXAMPLE}.")
    try:
        request = ChatRequest.model_validate(content)
    except ValidationError as error:
        raise InvalidPrompt(_sentence(error)) from None
    if len(request.prompt) > max_prompt_chars:
        raise PayloadTooLarge(
            f"The prompt has {len(request.prompt)} characters and the limit is {max_prompt_chars}; send a shorter one."
        )
    if not clean(request.prompt):
        raise InvalidPrompt(f"The prompt is empty; send some text, for example {EXAMPLE}.")
    return request


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"The field {field} is missing; send an object such as {EXAMPLE}."
    if problem["type"] == "string_unicode":
        return f"The field {field} holds half of a surrogate pair; send whole Unicode characters."
    expected = {"prompt": "a string", "session_id": "a string of 1 to 128 characters", "stream": "true or false"}
    return f"The field {field} must be {expected[field]}; send an object such as {EXAMPLE}."
