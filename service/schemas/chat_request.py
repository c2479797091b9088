"""Body of `POST /chatbot`."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.chat.prompt import clean
from service.errors import InvalidPrompt, PayloadTooLarge
from service.schemas.body import WHOLE, Text, read_object

# Whatever `clean` leaves something of: one character that is neither space nor control.
SOMETHING = r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
EXAMPLE = '{"prompt": "Hello, how are you today?"}'
EXPECTED = {
    "prompt": "a string",
    "session_id": "a string of 1 to 128 characters",
    "stream": "true or false",
    "temperature": "a number from 0 to 2",
    "seed": "a whole number of 64 bits",
    "replace": "the number of the last exchange, as the reply gives it in exchange",
}

SessionId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ExchangeNumber = Annotated[int, Field(ge=1, lt=2**53), WHOLE]
SETTINGS = ConfigDict(
    strict=True,
    extra="ignore",
    frozen=True,
    allow_inf_nan=False,
    json_schema_extra={"examples": [json.loads(EXAMPLE)]},
)


class ChatRequest(BaseModel):
    """Body of `POST /chatbot`."""

    model_config = SETTINGS

    prompt: Text = Field(description="What the user says.", json_schema_extra={"pattern": SOMETHING})
    session_id: SessionId | None = Field(
        default=None, description="Conversation to go on with, as given in X-Session-Id."
    )
    stream: bool | None = Field(
        default=False, description="Whether the reply comes piece by piece, as server-sent events."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Above 0: tokens are drawn at random, so that a message gets another reply each time. "
        "0 or absent: the model's own decoding.",
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = Field(
        default=None, description="Of the drawing: the same seed and history give the same reply."
    )
    replace: ExchangeNumber | None = Field(
        default=None,
        description="Number of the last exchange, in whose place this message and its reply are stored, to answer it "
        "anew or to say something else. If another exchange is the last one by then, nothing changes and a 409 comes.",
    )


def parse_chat_request(body: bytes, *, max_prompt_chars: int) -> ChatRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape, or a prompt with nothing in it.
        PayloadTooLarge: a prompt over its limit.
    """
    request = read_object(body, ChatRequest, example=EXAMPLE, expected=EXPECTED)
    check_length(request.prompt, max_prompt_chars)
    if not clean(request.prompt):
        raise InvalidPrompt(f"The prompt is empty; send some text, for example {EXAMPLE}.")
    return request


def check_length(prompt: str, most: int) -> None:
    """Refuse what is too long.

    Raises:
        PayloadTooLarge: naming both numbers.
    """
    if len(prompt) > most:
        raise PayloadTooLarge(f"The prompt has {len(prompt)} characters and the limit is {most}; send a shorter one.")
