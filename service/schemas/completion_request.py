"""Body of `POST /v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import ErrorDetails

from service.chat.completion import MOST_CHOICES, Task, as_turns
from service.chat.prompt import clean
from service.errors import InvalidField, PayloadTooLarge, UnsupportedField
from service.schemas.body import Text, read_json

EXAMPLE = '{"messages": [{"role": "user", "content": "Hello, how are you today?"}]}'
# Of a wrong name or value so much is shown.
LONGEST_SHOWN = 60

Role = Literal["system", "developer", "user", "assistant"]
Nothing = Annotated[list[Any], Field(max_length=0)]
Zero = Annotated[float, Field(ge=0, le=0)]
StopString = Annotated[Text, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(_Strict):
    """A part of a message."""

    type: Literal["text"] = Field(description="Parts of other types are refused.")
    text: Text = Field(description="What is said.")


class ChatMessage(_Strict):
    """A message of the conversation."""

    role: Role = Field(description="Who speaks; system and developer mean the same.")
    content: Text | Annotated[list[TextPart], Field(min_length=1)] = Field(
        description="What is said; the parts of an array are joined with a space."
    )
    name: str | None = Field(default=None, description="Accepted; the model is not told.")
    refusal: None = Field(default=None, description="As in a reply of this service: null.")
    annotations: Nothing | None = Field(default=None, description="Not supported: null or empty.")
    audio: None = Field(default=None, description="Not supported: null.")
    tool_calls: Nothing | None = Field(default=None, description="Not supported: null or empty.")
    function_call: None = Field(default=None, description="Not supported: null.")

    @property
    def text(self) -> str:
        """All that is said."""
        return self.content if isinstance(self.content, str) else " ".join(part.text for part in self.content)


class StreamOptions(_Strict):
    """What a stream brings besides text."""

    include_usage: bool | None = Field(default=None, description="Whether a last chunk counts the tokens.")
    include_obfuscation: Literal[False] | None = Field(default=None, description="Not supported: false.")


class ResponseFormat(_Strict):
    """The form of the reply."""

    type: Literal["text"]


class ChatCompletionRequest(_Strict):
    """Body of `POST /v1/chat/completions`: OpenAI's, of which what is not done here is refused by name."""

    messages: Annotated[list[ChatMessage], FailFast()] = Field(
        min_length=1,
        description="The conversation, oldest first; the last message is the user's. System and developer messages "
        "become its first turn, consecutive messages of one role are one turn.",
    )
    model: Text | None = Field(
        default=None, description='A name that GET /v1/models gives; absent or "auto": that one.'
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Above 0: tokens are drawn at random. 0 or absent: the model's own decoding.",
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="Below 1: tokens are drawn from the likeliest ones of this total share."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="Longest reply, at most the model's own limit.")
    max_completion_tokens: int | None = Field(default=None, ge=1, description="The same; the smaller of both counts.")
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = Field(
        default=None, description="Strings before the first of which the reply ends."
    )
    seed: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="The same seed and request give the same reply."
    )
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES, description="Replies; above 1 with sampling only.")
    stream: bool | None = Field(default=None, description="Whether the reply comes as server-sent events.")
    stream_options: StreamOptions | None = Field(default=None, description="Only with stream.")

    user: str | None = Field(default=None, description="Accepted; has no effect.")
    safety_identifier: str | None = Field(default=None, description="Accepted; has no effect.")
    metadata: dict[str, Any] | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_key: str | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_retention: str | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_options: dict[str, Any] | None = Field(default=None, description="Accepted; has no effect.")
    parallel_tool_calls: bool | None = Field(default=None, description="Accepted; has no effect.")
    service_tier: Literal["auto", "default"] | None = Field(default=None, description="Accepted; has no effect.")
    store: Literal[False] | None = Field(default=None, description="Nothing is stored: false.")

    logprobs: Literal[False] | None = Field(default=None, description="Not supported: false.")
    top_logprobs: Literal[0] | None = Field(default=None, description="Not supported: 0.")
    presence_penalty: Zero | None = Field(default=None, description="Not supported: 0.")
    frequency_penalty: Zero | None = Field(default=None, description="Not supported: 0.")
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = Field(
        default=None, description="Not supported: empty."
    )
    response_format: ResponseFormat | None = Field(default=None, description="Not supported beyond text.")
    tools: Nothing | None = Field(default=None, description="Not supported: empty.")
    tool_choice: Literal["none", "auto"] | None = Field(default=None, description="Not supported beyond none and auto.")
    functions: Nothing | None = Field(default=None, description="Not supported: empty.")
    function_call: Literal["none", "auto"] | None = Field(
        default=None, description="Not supported beyond none and auto."
    )
    modalities: list[Literal["text"]] | None = Field(default=None, description="Not supported beyond text.")
    audio: None = Field(default=None, description="Not supported: null.")
    prediction: None = Field(default=None, description="Not supported: null.")
    reasoning_effort: Literal["none"] | None = Field(default=None, description="Not supported: none.")
    verbosity: Literal["medium"] | None = Field(default=None, description="Not supported: medium.")
    web_search_options: None = Field(default=None, description="Not supported: null.")
    moderation: None = Field(default=None, description="Not supported: null.")

    @property
    def task(self) -> Task:
        """What is to be written."""
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        return Task(
            turns=as_turns((message.role, message.text) for message in self.messages),
            temperature=_temperature(self),
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            choices=self.n or 1,
            max_tokens=min(limits, default=None),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
        )


# What a field must be, and for those that are not done, the value that asks for nothing.
EXPECTED: Mapping[str, str] = {
    "messages": f"an array of messages such as {EXAMPLE}",
    "role": f"one of {', '.join(get_args(Role))}",
    "content": 'a string, or an array of text parts such as [{"type": "text", "text": "Hello"}]',
    "type": '"text"',
    "text": "a string",
    "name": "a string",
    "model": "a name that GET /v1/models gives",
    "temperature": "a number from 0 to 2",
    "top_p": "a number above 0 and up to 1",
    "max_tokens": "a whole number of at least 1",
    "max_completion_tokens": "a whole number of at least 1",
    "stop": "a string or an array of up to 4 strings, none of them empty",
    "seed": "a whole number of 64 bits",
    "n": f"a whole number from 1 to {MOST_CHOICES}",
    "stream": "true or false",
    "stream_options": 'an object such as {"include_usage": true}',
    "include_usage": "true or false",
    "user": "a string",
    "safety_identifier": "a string",
    "metadata": "an object",
    "prompt_cache_key": "a string",
    "prompt_cache_retention": "a string",
    "prompt_cache_options": "an object",
    "parallel_tool_calls": "true or false",
}
NEUTRAL: Mapping[str, str] = {
    "service_tier": '"auto"',
    "store": "false",
    "include_obfuscation": "false",
    "logprobs": "false",
    "top_logprobs": "0",
    "presence_penalty": "0",
    "frequency_penalty": "0",
    "logit_bias": "{}",
    "response_format": '{"type": "text"}',
    "tools": "[]",
    "tool_choice": '"none"',
    "functions": "[]",
    "function_call": '"none"',
    "modalities": '["text"]',
    "audio": "null",
    "prediction": "null",
    "reasoning_effort": '"none"',
    "verbosity": '"medium"',
    "web_search_options": "null",
    "moderation": "null",
    "tool_calls": "null",
    "annotations": "null",
    "refusal": "null",
}
NAMES = frozenset(EXPECTED) | frozenset(NEUTRAL)


def parse_completion_request(body: bytes, *, max_prompt_chars: int) -> ChatCompletionRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidField: a field that is missing, unknown, of another shape or out of range; `param` names it.
        UnsupportedField: a field that asks for what is not done here.
        PayloadTooLarge: the newest message is over its limit.
    """
    content = read_json(body, example=EXAMPLE)
    if not isinstance(content, dict):
        raise InvalidField(f"The body must be a JSON object such as {EXAMPLE}.")
    try:
        request = ChatCompletionRequest.model_validate(content)
    except ValidationError as error:
        raise _refusal(error) from None
    _check_newest(request, max_prompt_chars)
    if request.stream_options is not None and not request.stream:
        raise InvalidField("stream_options goes with stream: true; leave it out otherwise.", param="stream_options")
    if (request.n or 1) > 1 and not _temperature(request):
        raise InvalidField(
            "n above 1 needs a temperature above 0: the model's own decoding always gives the same reply.", param="n"
        )
    return request


def _temperature(request: ChatCompletionRequest) -> float:
    """0 where the model decodes in its own way."""
    if request.temperature is not None:
        return request.temperature
    return 1.0 if request.top_p is not None and request.top_p < 1 else 0.0


def _check_newest(request: ChatCompletionRequest, max_chars: int) -> None:
    place = len(request.messages) - 1
    newest = request.messages[place]
    param = f"messages.{place}.content"
    if newest.role != "user":
        raise InvalidField(
            f"The last message is from {newest.role}; it must be from the user, since it is the one that is answered.",
            param=f"messages.{place}.role",
        )
    if len(newest.text) > max_chars:
        raise PayloadTooLarge(
            f"The last message has {len(newest.text)} characters and the limit is {max_chars}; send a shorter one.",
            param=param,
        )
    if not clean(newest.text):
        raise InvalidField(f"The last message is empty; send some text, for example {EXAMPLE}.", param=param)


def _refusal(error: ValidationError) -> InvalidField:
    """Of what is wrong, the most precise."""
    problem = max(error.errors(include_url=False), key=lambda problem: len(problem["loc"]))
    unknown = problem["type"] == "extra_forbidden"
    *path, last = problem["loc"]
    # Among the names stand those of the alternatives that were tried.
    known = [part for part in path if isinstance(part, int) or part in NAMES]
    place = [*known, last] if unknown or isinstance(last, int) or last in NAMES else known
    param = ".".join(str(part) for part in place)[:LONGEST_SHOWN]
    if unknown:
        return UnsupportedField(f"The field {param} is unknown here; leave it out.", param=param)
    names = [part for part in place if isinstance(part, str)]
    neutral = next((NEUTRAL[name] for name in names if name in NEUTRAL), None)
    if neutral is not None:
        return UnsupportedField(f"The field {param} is not supported; leave it out or send {neutral}.", param=param)
    return InvalidField(_sentence(problem, param, EXPECTED[names[-1]]), param=param)


def _sentence(problem: ErrorDetails, param: str, expected: str) -> str:
    if problem["type"] == "missing":
        return f"The field {param} is missing; it must be {expected}."
    if problem["type"] == "string_unicode":
        return f"The field {param} holds half of a surrogate pair; send whole Unicode characters."
    given = problem["input"]
    shown = f", and not {json.dumps(given)[:LONGEST_SHOWN]}" if isinstance(given, str | int | float) else ""
    return f"The field {param} must be {expected}{shown}."
