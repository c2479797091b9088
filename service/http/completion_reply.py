"""Replies of `POST /v1/chat/completions`, whole and piece by piece."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from service.chat.reply_stream import FinishReason

REASON = "stop: the reply is complete or a stop string came; length: it reached its limit."
TRUNCATED = "Oldest turns that did not fit the model's window, the first turn of system messages among them."

TRUNCATED_TOKENS = "Tokens at the beginning of the newest turn that did not fit it."


class CompletionUsage(BaseModel):
    """Tokens of one completion."""

    prompt_tokens: int = Field(description="Tokens that the model read, at most its window.")
    completion_tokens: int = Field(description="Tokens of all choices.")
    total_tokens: int


class ReplyMessage(BaseModel):
    """What the bot says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One reply."""

    index: int
    message: ReplyMessage
    logprobs: None = None
    finish_reason: FinishReason = Field(description=REASON)


class ChatCompletion(BaseModel):
    """The replies."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    system_fingerprint: str = Field(description="Another one means another model, whose replies to a seed differ.")
    truncated_turns: int = Field(description=TRUNCATED)
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)


class Delta(TypedDict, total=False):
    """What is new: the role in the first chunk, then text, nothing in the last one."""

    role: Literal["assistant"]
    content: str


class ChunkChoice(BaseModel):
    """More of one reply."""

    index: int
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = Field(default=None, description=REASON)


class ChatCompletionChunk(BaseModel):
    """Data of one server-sent event."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[ChunkChoice] = Field(description="Empty in the chunk that counts the tokens.")
    usage: CompletionUsage | None = Field(
        default=None, description="In the last chunk, if stream_options.include_usage is true."
    )
    system_fingerprint: str
    truncated_turns: int = Field(description=TRUNCATED)
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)
