"""Body and reply of `POST /tokenize`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.schemas.body import Text, read_object
from service.schemas.chat_reply import TRUNCATED_TOKENS
from service.schemas.chat_request import EXAMPLE, EXPECTED, SETTINGS, ExchangeNumber, SessionId, check_length


class TokenCountRequest(BaseModel):
    """Body of `POST /tokenize`: a message to `/chatbot`, as far as it says what the model reads."""

    model_config = SETTINGS

    prompt: Text | None = Field(
        default=None, description="What the user would say; absent or empty: nothing beside the conversation so far."
    )
    session_id: SessionId | None = Field(default=None, description="Conversation, as given in X-Session-Id.")
    replace: ExchangeNumber | None = Field(
        default=None, description="Number of the last exchange, which is not read then."
    )


class TokenCount(BaseModel):
    """What the model would read."""

    prompt_tokens: int = Field(description="Tokens that the model would read, at most its window.")
    window: int = Field(description="The most that it reads.")
    truncated_turns: int = Field(description="Oldest turns that would not fit; it reads from the one after them on.")
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)


def parse_token_count_request(body: bytes, *, max_prompt_chars: int) -> TokenCountRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidPrompt: JSON of another shape.
        PayloadTooLarge: a prompt over its limit.
    """
    request = read_object(body, TokenCountRequest, example=EXAMPLE, expected=EXPECTED)
    check_length(request.prompt or "", max_prompt_chars)
    return request
