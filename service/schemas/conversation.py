"""Reply of `GET /sessions/{session_id}`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Turn(BaseModel):
    """What one side said."""

    speaker: Literal["user", "bot"]
    text: str
    exchange: int = Field(description="Number of message and reply, by which the last ones can be replaced.")
    truncated_tokens: int = Field(
        description="Tokens at the beginning of a message that did not fit the model's window."
    )


class ConversationBody(BaseModel):
    """A conversation so far."""

    session_id: str
    turns: list[Turn] = Field(description="Oldest first.")
    truncated_turns: int = Field(description="Oldest turns that the model did not read for its last reply.")
    earlier_turns: int = Field(description="Turns before these, which `?before=` with this number brings.")
