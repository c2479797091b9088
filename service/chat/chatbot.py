"""One exchange: the history and a message in, a stored reply out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from service.chat.answer import GLANCE_S, Answer, Reply, Writing
from service.chat.completion import Completion
from service.chat.conversation import Conversation, Exchange, turns
from service.chat.line import Lines
from service.chat.phrases import Phrases
from service.chat.prompt import Prompt, PromptFormat
from service.chat.store import Store
from service.chat.task import Task
from service.engine.engine import Engine
from service.errors import (
    Cancelled,
    ConversationChanged,
    DeadlineExceeded,
    KeyReused,
    UnknownConversation,
    engine_errors,
)


@dataclass(frozen=True)
class Message:
    """What a user says.

    Attributes:
        conversation_id: of an existing conversation, or of one to be made.
        text: the user's words.
        fresh: whether the conversation may be made; a message to one that is gone fails otherwise.
        key: by which a retry is known; empty for none.
    """

    conversation_id: str
    text: str
    fresh: bool = True
    key: str = ""


class Chatbot:
    """Answers messages of conversations."""

    def __init__(
        self,
        engine: Engine,
        prompt_format: PromptFormat,
        *,
        longest_line: int = 32,
        never_say: Phrases | None = None,
    ) -> None:
        """
        Args:
            engine: writes the replies.
            prompt_format: of its model.
            longest_line: messages of one conversation that may wait for an earlier one.
            never_say: what the engine does not write, and what no stop string may make of what it wrote.
        """
        self.engine = engine
        self._format = prompt_format
        self._clean = never_say.clean if never_say else lambda text: text
        self._lines = Lines(longest_line)

    def answer(
        self,
        store: Store,
        message: Message,
        *,
        timeout_s: float,
        gone: Callable[[], bool] = lambda: False,
        client: str = "",
    ) -> Answer:
        """Begin to answer a message, once the earlier ones of its conversation have been answered.

        Args:
            store: where the conversation is.
            message: what the user says.
            timeout_s: seconds for waiting and work together.
            gone: whether the client has gone away, which ends the work.
            client: who asks; see `Engine.submit`.

        Raises:
            ServiceError: no reply can be given; nothing is stored then.
        """
        deadline = time.monotonic() + timeout_s
        with ExitStack() as stack:
            place = stack.enter_context(self._lines.join(message.conversation_id, client))
            while not place.first.wait(min(GLANCE_S, max(0.0, deadline - time.monotonic()))):
                if gone():
                    raise Cancelled("The client went away before its turn.")
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded(
                        "An earlier message of this conversation is still being answered; try again."
                    )
            conversation = _read(store, message)
            stored = _stored(conversation, message)
            if stored is not None:
                return Answer(stack.pop_all(), Reply(stored, None))
            prompt = self._format.encode([*turns(conversation.exchanges), message.text])
            with engine_errors():
                stream = self.engine.submit(prompt.ids, timeout_s=max(0.0, deadline - time.monotonic()), client=client)
            stack.callback(stream.cancel)

            def complete(ids: list[int]) -> Reply:
                exchange = self._exchange(message, prompt, ids)
                try:
                    store.append(message.conversation_id, exchange, version=conversation.version)
                except ConversationChanged:
                    # Another service on the same store was faster, perhaps with another try of this very message.
                    stored = _stored(_read(store, message), message)
                    if stored is None:
                        raise
                    return Reply(stored, None)
                return Reply(exchange, stream.timing)

            writing = Writing(stream, self._format.certain, complete, gone)
            return Answer(stack.pop_all(), writing)

    def complete(
        self, task: Task, *, timeout_s: float, gone: Callable[[], bool] = lambda: False, client: str = ""
    ) -> Completion:
        """Begin to write replies that are not stored; see `Completion`.

        Raises:
            ServiceError: no reply can be given.
        """
        return Completion(
            self.engine,
            self._format,
            task,
            timeout_s=timeout_s,
            gone=gone,
            clean=self._clean,
            client=client,
        )

    def _exchange(self, message: Message, prompt: Prompt, ids: list[int]) -> Exchange:
        return Exchange(
            message=message.text,
            reply=self._format.decode(ids),
            prompt_tokens=len(prompt.ids),
            completion_tokens=self._format.count(ids),
            truncated_turns=prompt.truncated_turns,
            truncated_tokens=prompt.truncated_tokens,
            key=message.key,
        )


def _read(store: Store, message: Message) -> Conversation:
    try:
        return store.read(message.conversation_id)
    except UnknownConversation:
        if message.fresh:
            return Conversation()
        raise


def _stored(conversation: Conversation, message: Message) -> Exchange | None:
    """The reply that a retry has got before."""
    for exchange in conversation.exchanges if message.key else ():
        if exchange.key == message.key:
            if exchange.message != message.text:
                raise KeyReused("This Idempotency-Key came with another prompt before; send a new key with this one.")
            return exchange
    return None
