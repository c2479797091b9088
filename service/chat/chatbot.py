"""One exchange: the history and a message in, a stored reply out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from service import departure
from service.chat.answer import Answer, Reply, Uncommitted
from service.chat.completion import Completion
from service.chat.phrases import Phrases
from service.chat.prompt import Prompt, PromptFormat
from service.chat.reply_stream import ReplyStream
from service.chat.task import Task, decodings
from service.chat.turn_order import TurnOrder
from service.conversations.conversation import Conversation, Exchange, turns
from service.conversations.store import Page, Store
from service.engine.engine import Engine
from service.errors import (
    ConversationChanged,
    DeadlineExceeded,
    ExchangeReplaced,
    KeyReused,
    NotTheLastExchange,
    UnknownConversation,
    engine_errors,
)

# More than replacements of one exchange that are still being sent again.
KEPT_KEYS = 32


@dataclass(frozen=True)
class Message:
    """What a user says.

    Attributes:
        conversation_id: of an existing conversation, or of one to be made.
        text: the user's words.
        fresh: whether the conversation may be made; a message to one that is gone fails otherwise.
        key: by which a retry is known; empty for none.
        temperature: of the sampling; at 0 the model decodes in its own way.
        seed: of the sampling; None takes a fresh one.
        replace: number of the last exchange, in whose place message and reply are stored; None to go on after it.
    """

    conversation_id: str
    text: str
    fresh: bool = True
    key: str = ""
    temperature: float = 0.0
    seed: int | None = None
    replace: int | None = None

    @property
    def request(self) -> str:
        """What it says beside the text, as JSON; empty for nothing."""
        options = {"temperature": self.temperature or None, "seed": self.seed, "replace": self.replace}
        options = {name: value for name, value in options.items() if value is not None}
        return json.dumps(options) if options else ""


class Chatbot:
    """Answers messages of conversations."""

    def __init__(
        self,
        engine: Engine,
        prompt_format: PromptFormat,
        *,
        max_waiting: int = 32,
        never_say: Phrases | None = None,
    ) -> None:
        """
        Args:
            engine: writes the replies.
            prompt_format: of its model.
            max_waiting: messages of one conversation that may wait for an earlier one.
            never_say: what the engine does not write, and what no stop string may make of what it wrote.
        """
        self.engine = engine
        self._format = prompt_format
        self._clean = never_say.clean if never_say else lambda text: text
        self._order = TurnOrder(max_waiting)

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
            place = stack.enter_context(self._order.join(message.conversation_id, client))
            while not place.first.wait(min(departure.POLL_S, max(0.0, deadline - time.monotonic()))):
                departure.check(gone)
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded(
                        "An earlier message of this conversation is still being answered; try again."
                    )
            stored = _stored(store, message)
            if stored is not None:
                return Answer(stack.pop_all(), Reply(stored, None))
            conversation = self._read(store, message)
            before, replaced = _split(conversation, message)
            prompt = self._format.encode([*turns(before), message.text], earlier=2 * conversation.earlier)
            settings = decodings(self.engine.settings, Task([], temperature=message.temperature, seed=message.seed))[0]
            with engine_errors():
                tokens = self.engine.submit(
                    prompt.ids, timeout_s=max(0.0, deadline - time.monotonic()), settings=settings, client=client
                )
            stack.callback(tokens.cancel)

            def commit(stream: ReplyStream) -> Reply:
                version = conversation.version
                exchange = self._exchange(message, prompt, stream, number=version + 1, replaced=replaced)
                try:
                    store.append(
                        message.conversation_id, exchange, version=version, replace=message.replace is not None
                    )
                except ConversationChanged:
                    # Another service on the same store was faster, perhaps with another try of this very message.
                    stored = _stored(store, message)
                    if stored is None:
                        _split(self._read(store, message), message)
                        raise
                    return Reply(stored, None)
                return Reply(exchange, stream.timing)

            stream = ReplyStream(tokens, self._format, gone=gone)
            return Answer(stack.pop_all(), Uncommitted(stream, commit))

    def read(self, store: Store, message: Message) -> Prompt:
        """What the model would read if a message were said now, and nothing else of it than the end of the
        conversation if it has no text.

        Raises:
            NotTheLastExchange: it is to replace another one.
            UnknownConversation: see `Message`.
        """
        conversation = self._read(store, message)
        before, _ = _split(conversation, message)
        newest = [message.text] if message.text else []
        return self._format.encode([*turns(before), *newest], earlier=2 * conversation.earlier)

    @property
    def window(self) -> int:
        """Tokens that the model reads at most."""
        return self._format.window

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

    def _read(self, store: Store, message: Message) -> Conversation:
        """As much of a conversation as the model can read, since each turn takes a token, and what may be replaced."""
        try:
            return store.read(message.conversation_id, Page(max_exchanges=self._format.window // 2 + 1))
        except UnknownConversation:
            if message.fresh:
                return Conversation()
            raise

    def _exchange(
        self, message: Message, prompt: Prompt, stream: ReplyStream, *, number: int, replaced: Exchange | None
    ) -> Exchange:
        keys = replaced.keys if replaced else []
        return Exchange(
            message=message.text,
            reply=stream.text,
            prompt_tokens=len(prompt.ids),
            completion_tokens=stream.tokens,
            truncated_turns=prompt.truncated_turns,
            truncated_tokens=prompt.truncated_tokens,
            key=message.key,
            request=message.request,
            replaced=" ".join(keys[-KEPT_KEYS:]),
            number=number,
        )


def _split(conversation: Conversation, message: Message) -> tuple[Sequence[Exchange], Exchange | None]:
    """The exchanges that a message goes on with, and the one that it replaces.

    Raises:
        NotTheLastExchange: it would replace another one than the last.
    """
    if message.replace is None:
        return conversation.exchanges, None
    if message.replace != conversation.version or not conversation.exchanges:
        raise NotTheLastExchange(message.replace, conversation.version)
    return conversation.exchanges[:-1], conversation.exchanges[-1]


def _stored(store: Store, message: Message) -> Exchange | None:
    """The reply that a retry has got before.

    Raises:
        KeyReused: the request differs.
        ExchangeReplaced: it is no longer there.
    """
    stored = store.find(message.conversation_id, message.key) if message.key else None
    if stored is None:
        return None
    if stored.key != message.key:
        raise ExchangeReplaced
    if stored.message != message.text:
        raise KeyReused("This Idempotency-Key came with another prompt before; send a new key with this one.")
    if stored.request != message.request:
        raise KeyReused(
            "This Idempotency-Key came with another temperature, seed or replace before; "
            "send a new key with this request."
        )
    return stored
