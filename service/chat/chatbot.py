"""One exchange: the history and a message in, a stored reply out."""

from __future__ import annotations

import time
from dataclasses import dataclass

from service.chat.prompt import PromptFormat
from service.chat.store import MemoryStore
from service.engine.engine import Engine


@dataclass(frozen=True)
class Reply:
    """A reply that has been stored.

    Attributes:
        text: what the bot says.
        prompt_tokens: tokens of the history that the model read.
        completion_tokens: tokens of the reply.
        truncated_turns: oldest turns that did not fit the model's window.
        queue_s: seconds of waiting.
        decode_s: seconds of work.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated_turns: int
    queue_s: float
    decode_s: float


class Chatbot:
    """Answers messages of conversations."""

    def __init__(self, engine: Engine, prompt_format: PromptFormat) -> None:
        self._engine = engine
        self._format = prompt_format

    def reply(self, store: MemoryStore, conversation_id: str, message: str, *, timeout_s: float) -> Reply:
        """Answer a message and store both turns, together and only when the reply is complete.

        A conversation that is deleted while it is being answered stays forgotten.

        Args:
            store: where the conversation is.
            conversation_id: of an existing conversation or of one to be made.
            message: the user's words.
            timeout_s: seconds for waiting and work together.

        Raises:
            ServiceError: no reply can be given; nothing is stored then.
        """
        deadline = time.monotonic() + timeout_s
        with store.turn(conversation_id, timeout_s=timeout_s):
            history = store.turns(conversation_id) if conversation_id in store else []
            prompt = self._format.encode([*history, message])
            generation = self._engine.generate(prompt.ids, timeout_s=max(0.0, deadline - time.monotonic()))
            text = self._format.decode(generation.ids)
            if not history or conversation_id in store:
                store.append(conversation_id, message, text)
        return Reply(
            text=text,
            prompt_tokens=len(prompt.ids),
            completion_tokens=self._format.count(generation.ids),
            truncated_turns=prompt.truncated_turns,
            queue_s=generation.queue_s,
            decode_s=generation.decode_s,
        )
