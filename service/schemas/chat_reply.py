"""Replies of `POST /chatbot`, whole and piece by piece."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.chat.conversation import Exchange


class Usage(BaseModel):
    """Tokens of one reply."""

    prompt_tokens: int = Field(description="Tokens that the model read, at most its window.")
    completion_tokens: int = Field(description="Tokens of the reply.")


TRUNCATED_TOKENS = "Tokens at the beginning of the newest message that did not fit the model's window."


class ChatReply(BaseModel):
    """A reply that has been stored."""

    reply: str = Field(description="What the bot says.")
    session_id: str = Field(description="The conversation, to go on with.")
    exchange: int = Field(description="Number of message and reply in the conversation, by which they can be replaced.")
    usage: Usage
    truncated_turns: int = Field(description="Oldest turns that did not fit the model's window.")
    truncated_tokens: int = Field(description=TRUNCATED_TOKENS)

    @staticmethod
    def of(exchange: Exchange, conversation_id: str) -> ChatReply:
        """Describe an exchange of a conversation."""
        usage = Usage(prompt_tokens=exchange.prompt_tokens, completion_tokens=exchange.completion_tokens)
        return ChatReply(
            reply=exchange.reply,
            session_id=conversation_id,
            exchange=exchange.number,
            usage=usage,
            truncated_turns=exchange.truncated_turns,
            truncated_tokens=exchange.truncated_tokens,
        )


class QueuePosition(BaseModel):
    """Data of an event `queue`, which comes when the place changes."""

    position: int = Field(
        description="Place among the messages that wait, 1 for the next one; 0: it is being answered."
    )


class ChatDelta(BaseModel):
    """Data of an event without a name: more of the reply."""

    delta: str
