"""Body of `POST /v1/chat/completions`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from service.chat.task import MAX_CHOICES, Task, as_turns
from service.errors import ContextLengthExceeded, InvalidField
from service.http.body import read_json
from service.http.completion_refusal import EXAMPLE, refusal
from service.http.fields import WHOLE, Off, Text

Nothing = Annotated[list[Any], Field(max_length=0)]
Zero = Annotated[float, Field(ge=0, le=0)]
Count = Annotated[int, Field(ge=1), WHOLE]
StopString = Annotated[Text, Field(min_length=1)]


class _Object(BaseModel):
    """An object within a request; fields that it does not know are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class TextPart(_Object):
    """A part of a message."""

    type: Literal["text"] = Field(description="Parts of other types are refused.")
    text: Text = Field(description="What is said.")


class ReplyPart(_Object):
    """A part of an earlier reply."""

    type: str = Field(
        default="text", description="Parts of other types than text, output_text and refusal are passed over."
    )
    text: Text | None = Field(default=None, description="What was said.")
    refusal: Text | None = Field(default=None, description="What was said in place of a reply.")

    @property
    def said(self) -> str:
        """Its text; empty for what is none, such as a thought or a call of a tool."""
        texts = {"text": self.text, "output_text": self.text, "refusal": self.refusal}
        return texts.get(self.type) or ""


class UserMessage(_Object):
    """What the user says, or the operator."""

    role: Literal["system", "developer", "user"] = Field(description="Who speaks; system and developer mean the same.")
    content: Text | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)] = Field(
        description="What is said; the parts of an array are joined with a space."
    )
    name: str | None = Field(default=None, description="Accepted; not passed to the model.")

    @property
    def text(self) -> str:
        """All that is said."""
        return self.content if isinstance(self.content, str) else " ".join(part.text for part in self.content)


class AssistantMessage(_Object):
    """An earlier reply, of this service or of any other."""

    role: Literal["assistant"]
    content: Text | Annotated[list[Text | ReplyPart], Field(fail_fast=True)] | None = Field(
        default=None, description="What was said; parts without text say nothing."
    )
    refusal: Text | None = Field(default=None, description="What was said if there is no content.")

    @property
    def text(self) -> str:
        """All that was said; empty if it only called tools, for example."""
        parts = self.content if isinstance(self.content, list) else [self.content or ""]
        texts = [part if isinstance(part, str) else part.said for part in parts]
        return " ".join(filter(None, texts)) or self.refusal or ""


class ToolMessage(_Object):
    """What a tool returned."""

    role: Literal["tool", "function"] = Field(description="Accepted; not passed to the model.")

    @property
    def text(self) -> str:
        """Nothing: the model knows no tools."""
        return ""


def _kind(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    return {"assistant": "reply", "tool": "result", "function": "result"}.get(str(role), "request")


ChatMessage = Annotated[
    Annotated[UserMessage, Tag("request")]
    | Annotated[AssistantMessage, Tag("reply")]
    | Annotated[ToolMessage, Tag("result")],
    Discriminator(_kind),
]


class StreamOptions(_Object):
    """What a stream brings besides text."""

    include_usage: bool | None = Field(default=None, description="Whether a last chunk counts the tokens.")
    include_obfuscation: Off | None = Field(default=None, description="Not supported: false.")


class ResponseFormat(_Object):
    """The form of the reply."""

    type: Literal["text"]


class ChatCompletionRequest(_Object):
    """Body of `POST /v1/chat/completions`: OpenAI's, of which what is not done here is refused by name.

    An unknown field asks for something that is not done, unless it is null.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [json.loads(EXAMPLE)], "additionalProperties": {"type": "null"}},
    )

    messages: list[ChatMessage] = Field(
        min_length=1,
        fail_fast=True,
        description="The conversation, oldest first; what was said last is answered. System and developer messages "
        "become its first turn, consecutive messages of one role are one turn, and those without text are none.",
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
    max_tokens: Count | None = Field(default=None, description="Longest reply, at most the model's own limit.")
    max_completion_tokens: Count | None = Field(default=None, description="The same; the smaller of both counts.")
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = Field(
        default=None, description="Strings before the first of which the reply ends."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = Field(
        default=None, description="The same seed and request give the same reply."
    )
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), WHOLE] | None = Field(
        default=None, description="Replies, all the same without sampling."
    )
    ignore_eos: bool | None = Field(
        default=None, description="Whether replies go on to their limit, which load generators ask for."
    )
    stream: bool | None = Field(default=None, description="Whether the reply comes as server-sent events.")
    stream_options: StreamOptions | None = Field(default=None, description="Has an effect with stream only.")

    user: str | None = Field(default=None, description="Accepted; has no effect.")
    safety_identifier: str | None = Field(default=None, description="Accepted; has no effect.")
    metadata: dict[str, Any] | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_key: str | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_retention: str | None = Field(default=None, description="Accepted; has no effect.")
    prompt_cache_options: dict[str, Any] | None = Field(default=None, description="Accepted; has no effect.")
    parallel_tool_calls: bool | None = Field(default=None, description="Accepted; has no effect.")
    service_tier: Literal["auto", "default"] | None = Field(default=None, description="Accepted; has no effect.")
    store: Off | None = Field(default=None, description="Nothing is stored: false.")

    logprobs: Off | None = Field(default=None, description="Not supported: false.")
    top_logprobs: Annotated[int, Field(ge=0, le=0), WHOLE] | None = Field(default=None, description="Not supported: 0.")
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
    modalities: Annotated[list[Literal["text"]], Field(fail_fast=True)] | None = Field(
        default=None, description="Not supported beyond text."
    )
    audio: None = Field(default=None, description="Not supported: null.")
    prediction: None = Field(default=None, description="Not supported: null.")
    reasoning_effort: Literal["none"] | None = Field(default=None, description="Not supported: none.")
    verbosity: Literal["medium"] | None = Field(default=None, description="Not supported: medium.")
    web_search_options: None = Field(default=None, description="Not supported: null.")
    moderation: None = Field(default=None, description="Not supported: null.")

    @model_validator(mode="before")
    @classmethod
    def _drop_unknown_nulls(cls, content: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in content.items() if value is not None or name in cls.model_fields}

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
            ignore_eos=bool(self.ignore_eos),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
        )


def parse_completion_request(body: bytes, *, max_prompt_chars: int) -> ChatCompletionRequest:
    """Read a body as JSON whatever its content type says.

    Raises:
        BadRequest: not JSON.
        InvalidField: a field that is missing, unknown, of another shape or out of range; `param` names it.
        UnsupportedField: a field that asks for what is not done here.
        ContextLengthExceeded: the newest message is over its limit.
    """
    content = read_json(body, example=EXAMPLE)
    if not isinstance(content, dict):
        raise InvalidField(f"The body must be a JSON object such as {EXAMPLE}.")
    try:
        request = ChatCompletionRequest.model_validate(content)
    except ValidationError as error:
        raise refusal(error) from None
    _check_newest(request, max_prompt_chars)
    return request


def _temperature(request: ChatCompletionRequest) -> float:
    """0 where the model decodes in its own way."""
    if request.temperature is not None:
        return request.temperature
    return 1.0 if request.top_p is not None and request.top_p < 1 else 0.0


def _check_newest(request: ChatCompletionRequest, max_chars: int) -> None:
    place = len(request.messages) - 1
    size = len(request.messages[place].text)
    if size > max_chars:
        raise ContextLengthExceeded(
            # Clients that look at the text alone know a message over the limit by these first words.
            f"The prompt is too long: the last message has {size} characters and the limit is {max_chars}; "
            "send a shorter one.",
            param=f"messages.{place}.content",
        )
