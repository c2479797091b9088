"""One exchange: the history and a message in, a stored reply out, as a whole or piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from service.chat.completion import GLANCE_S, Completion, Task
from service.chat.conversation import Conversation, Exchange, turns
from service.chat.line import Lines
from service.chat.prompt import Prompt, PromptFormat
from service.chat.store import Store
from service.engine.engine import Engine
from service.engine.generation import Generation, Progress, Timing
from service.errors import Cancelled, ConversationChanged, DeadlineExceeded, KeyReused, UnknownConversation


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


@dataclass(frozen=True)
class Reply:
    """A reply that has been stored.

    Attributes:
        exchange: as stored.
        timing: where its time went; None for one that was stored before.
    """

    exchange: Exchange
    timing: Timing | None


class Chatbot:
    """Answers messages of conversations."""

    def __init__(self, engine: Engine, prompt_format: PromptFormat, *, longest_line: int = 32) -> None:
        """
        Args:
            engine: writes the replies.
            prompt_format: of its model.
            longest_line: messages of one conversation that may wait for an earlier one.
        """
        self.engine = engine
        self._format = prompt_format
        self._lines = Lines(longest_line)

    def answer(
        self, store: Store, message: Message, *, timeout_s: float, gone: Callable[[], bool] = lambda: False
    ) -> Answer:
        """Begin to answer a message, once the earlier ones of its conversation have been answered.

        Args:
            store: where the conversation is.
            message: what the user says.
            timeout_s: seconds for waiting and work together.
            gone: whether the client has gone away, which ends the work.

        Raises:
            ServiceError: no reply can be given; nothing is stored then.
        """
        deadline = time.monotonic() + timeout_s
        with ExitStack() as stack:
            place = stack.enter_context(self._lines.join(message.conversation_id))
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
            generation = self.engine.submit(prompt.ids, timeout_s=max(0.0, deadline - time.monotonic()))
            stack.callback(generation.cancel)

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
                return Reply(exchange, generation.timing)

            writing = Writing(generation, self._format.certain, complete, gone)
            return Answer(stack.pop_all(), writing)

    def complete(self, task: Task, *, timeout_s: float, gone: Callable[[], bool] = lambda: False) -> Completion:
        """Begin to write replies that are not stored; see `Completion`.

        Raises:
            ServiceError: no reply can be given.
        """
        return Completion(self.engine, self._format, task, timeout_s=timeout_s, gone=gone)

    def _exchange(self, message: Message, prompt: Prompt, ids: list[int]) -> Exchange:
        return Exchange(
            message=message.text,
            reply=self._format.decode(ids),
            prompt_tokens=len(prompt.ids),
            completion_tokens=self._format.count(ids),
            truncated_turns=prompt.truncated_turns,
            key=message.key,
        )


@dataclass(frozen=True)
class Writing:
    """A reply that the engine writes.

    Attributes:
        generation: the tokens.
        certain: what text they are certain to begin with.
        complete: makes all of them a stored reply.
        gone: whether the client has gone away.
    """

    generation: Generation
    certain: Callable[[list[int]], str]
    complete: Callable[[list[int]], Reply]
    gone: Callable[[], bool]

    def wait(self, known: int | None = None) -> Progress:
        """How far it is, a glance later at most; see `Generation.wait`.

        Raises:
            Cancelled: the client has gone away.
        """
        progress = self.generation.wait(GLANCE_S, known=known)
        if self.gone():
            raise Cancelled("The client went away before its reply was complete.")
        return progress


class Answer:
    """A message being answered: a context manager; to leave it early stops the work and stores nothing.

    Either `pieces` is read to its end or `reply` is called.
    """

    def __init__(self, held: ExitStack, source: Reply | Writing) -> None:
        """
        Args:
            held: what is let go when the answer is closed.
            source: a reply that was stored before, or one that is being written.
        """
        self._held = held
        self._source = source
        self.replayed = isinstance(source, Reply)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the work, if there still is any, and let the conversation's next message forward."""
        self._held.close()

    def pieces(self) -> Iterator[str]:
        """Text of the reply as soon as it is certain; joined, the pieces are the whole reply.

        The last piece comes when the reply has been stored. An empty one means that there is nothing new yet.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        sent, known = "", 0
        while isinstance(self._source, Writing):
            ids, done = self._source.wait(known)
            if done:
                self._source = self._source.complete(ids)
                break
            known = len(ids)
            text = self._source.certain(ids)
            yield text[len(sent) :]
            sent = max(sent, text, key=len)
        whole = self.reply().exchange.reply
        if not whole.startswith(sent):
            raise ConversationChanged
        yield whole[len(sent) :]

    def reply(self) -> Reply:
        """Wait for the reply and store it with its message.

        Raises:
            ServiceError: there will be no reply; nothing is stored.
        """
        while isinstance(self._source, Writing):
            ids, done = self._source.wait()
            if done:
                self._source = self._source.complete(ids)
        return self._source


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
