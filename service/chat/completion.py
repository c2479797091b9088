"""Replies to a conversation that its client keeps: nothing is stored, and the client says how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from types import TracebackType
from typing import Literal, NamedTuple

from service.chat.prompt import PromptFormat, clean
from service.chat.stop import StopStrings
from service.engine.engine import Engine
from service.engine.generation import Generation, Timing
from service.engine.settings import DecodingSettings
from service.errors import Cancelled

# A client that went away is noticed within this time.
GLANCE_S = 0.1
MOST_CHOICES = 8
# What is colder chooses the likeliest token as well, and does not overflow.
COLDEST = 1e-3
# Each reply of a request has a seed of its own, the first one that of the request.
SEEDS = 2**64

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Task:
    """What is to be written.

    Attributes:
        turns: the conversation, oldest first; its last turn is answered. With none the model opens it.
        choices: replies to write, up to `MOST_CHOICES`.
        temperature: of the drawing; at 0 the model decodes in its own way, which gives the same reply each time.
        top_p: share of the likeliest tokens to draw from.
        seed: of the drawing; None takes a fresh one.
        max_tokens: of each reply; None, and whatever is more, means the model's own limit.
        stop: strings before which a reply ends.
    """

    turns: list[str]
    choices: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


def as_turns(messages: Iterable[tuple[str, str]]) -> list[str]:
    """Messages, each a role and a text, as the turns that the model knows.

    The model was trained on two speakers in turn. So what system and developer say is the first turn, wherever it
    stands, consecutive messages of one role are one turn, and messages without text are none.
    """
    instructions: list[str] = []
    said: list[tuple[str, str]] = []
    for role, text in messages:
        if not clean(text):
            continue
        if role in {"system", "developer"}:
            instructions.append(text)
        else:
            said.append((role, text))
    turns = [" ".join(text for _, text in run) for _, run in groupby(said, key=lambda message: message[0])]
    return [" ".join(instructions), *turns] if instructions else turns


def decodings(own: DecodingSettings, task: Task) -> list[DecodingSettings]:
    """The settings of each different reply: the model's own, with its bans and least length kept, but for what the
    task asks. Without drawing all replies are the same, and one is written for all.
    """
    settings = own
    if task.temperature > 0:
        temperature = max(task.temperature, COLDEST)
        settings = replace(own, num_beams=1, do_sample=True, temperature=temperature, top_k=0, top_p=task.top_p)
    if task.max_tokens is not None:
        ends = 1 if own.forced_eos_token_id is None else 2
        longest = min(own.max_length, task.max_tokens + ends)
        settings = replace(settings, max_length=longest, min_length=min(own.min_length, longest))
    if not settings.do_sample:
        return [settings]
    seeds = [None if task.seed is None else task.seed % SEEDS + place * SEEDS for place in range(task.choices)]
    return [replace(settings, seed=seed) for seed in seeds]


class Draft:
    """A reply being written.

    Attributes:
        text: what it is certain to begin with; all of it once it is finished.
        tokens: of a finished one, those that were needed: up to the end of a stop string.
        finish_reason: why it ended; None while it goes on.
    """

    def __init__(self, generation: Generation, prompt_format: PromptFormat, stop: StopStrings) -> None:
        self.text = ""
        self.tokens = 0
        self.finish_reason: FinishReason | None = None
        self._generation = generation
        self._format = prompt_format
        self._stop = stop
        self._known = 0

    @property
    def timing(self) -> Timing:
        """Of a finished one."""
        return self._generation.timing

    def read(self, timeout_s: float, *, watch: bool) -> str:
        """Wait for more of it.

        Args:
            timeout_s: longest wait.
            watch: whether to come back as soon as there is more; otherwise when it is finished.

        Returns:
            Text that has become certain.

        Raises:
            ServiceError: there will be no reply.
        """
        ids, done = self._generation.wait(timeout_s, known=self._known if watch else None)
        self._known = len(ids)
        sent = len(self.text)
        text = self._format.decode(ids) if done else self._format.certain(ids)
        cut = self._stop.cut(text)
        if cut is not None:
            self._generation.cancel()
            self._end(cut, self._up_to_stop(ids), "stop")
        elif done:
            length = len(ids) >= self._generation.sequence.settings.max_length
            self._end(text, ids, "length" if length else "stop")
        else:
            self.text = max(self.text, self._stop.held_back(text), key=len)
        return self.text[sent:]

    def _end(self, text: str, ids: list[int], reason: FinishReason) -> None:
        self.text = text
        self.tokens = self._format.count(ids)
        self.finish_reason = reason

    def _up_to_stop(self, ids: list[int]) -> list[int]:
        return next(
            (ids[:size] for size in range(len(ids)) if self._stop.cut(self._format.decode(ids[:size])) is not None), ids
        )


class Piece(NamedTuple):
    """More of one reply.

    Attributes:
        choice: which reply, from 0.
        text: what comes next; empty when there is nothing new yet.
        finish_reason: why the reply ends here; None when it goes on.
    """

    choice: int
    text: str
    finish_reason: FinishReason | None


class Completion:
    """The replies of one task: a context manager; to leave it early stops the work.

    Attributes:
        prompt_tokens: tokens that the model reads.
        truncated_turns: oldest turns that did not fit its window.
        drafts: the different replies.
    """

    def __init__(
        self,
        engine: Engine,
        prompt_format: PromptFormat,
        task: Task,
        *,
        timeout_s: float,
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            engine: writes the replies, together.
            prompt_format: of its model.
            task: what is to be written.
            timeout_s: seconds for waiting and work together.
            gone: whether the client has gone away, which ends the work.

        Raises:
            ServiceError: the engine takes no more.
        """
        prompt = prompt_format.encode(task.turns)
        self.prompt_tokens = len(prompt.ids)
        self.truncated_turns = prompt.truncated_turns
        self.drafts: list[Draft] = []
        self._stop = StopStrings(task.stop)
        self._gone = gone
        with ExitStack() as stack:
            for settings in decodings(engine.settings, task):
                generation = engine.submit(prompt.ids, timeout_s=timeout_s, settings=settings)
                stack.callback(generation.cancel)
                self.drafts.append(Draft(generation, prompt_format, self._stop))
            self._held = stack.pop_all()
        self._copies = task.choices // len(self.drafts)

    @property
    def choices(self) -> list[Draft]:
        """The replies as they were asked for, copies among them."""
        return self.drafts * self._copies

    def __enter__(self) -> Completion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def pieces(self) -> Iterator[Piece]:
        """Text of the replies as soon as it is certain; joined, the pieces of each are the whole reply.

        Raises:
            ServiceError: a reply has failed.
        """
        return self._read(watch=True)

    def finish(self) -> None:
        """Wait for all replies.

        Raises:
            ServiceError: a reply has failed.
        """
        for _ in self._read(watch=bool(self._stop)):
            pass

    def _read(self, *, watch: bool) -> Iterator[Piece]:
        while writing := [place for place, draft in enumerate(self.drafts) if draft.finish_reason is None]:
            for place in writing:
                if self._gone():
                    raise Cancelled("The client went away before its reply was complete.")
                draft = self.drafts[place]
                text = draft.read(GLANCE_S / len(writing), watch=watch)
                for copy in range(self._copies):
                    yield Piece(place + copy, text, draft.finish_reason)
