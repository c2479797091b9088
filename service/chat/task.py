"""What is to be written to a conversation that its client keeps, and how it is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from service.chat.prompt import clean
from service.engine.settings import DecodingSettings

MAX_CHOICES = 8
# Anything colder chooses the same tokens, and overflows.
MIN_TEMPERATURE = 1e-3
# Each reply of a request has a seed of its own, the first one that of the request.
SEEDS = 2**64


@dataclass(frozen=True)
class Task:
    """What is to be written.

    Attributes:
        turns: the conversation, oldest first; its last turn is answered. With none the model opens it.
        choices: replies to write, up to `MAX_CHOICES`.
        temperature: of the sampling; at 0 the model decodes in its own way, which gives the same reply each time.
        top_p: share of the likeliest tokens to draw from.
        seed: of the sampling; None takes a fresh one.
        max_tokens: of each reply; None, and whatever is more, means the model's own limit.
        stop: strings before which a reply ends.
        ignore_eos: whether a reply goes on to its limit, however soon the model would end it.
    """

    turns: list[str]
    choices: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


def as_turns(messages: Iterable[tuple[str, str]]) -> list[str]:
    """Messages, each a role and a text, as the turns that the model knows.

    The model was trained on two speakers in turn. So what system and developer say is the first turn, wherever it
    stands, consecutive messages of one role are one turn, and messages without text are none.
    """
    instructions: list[str] = []
    spoken: list[tuple[str, str]] = []
    for role, text in messages:
        if not clean(text):
            continue
        if role in {"system", "developer"}:
            instructions.append(text)
        else:
            spoken.append((role, text))
    turns = [" ".join(text for _, text in run) for _, run in groupby(spoken, key=lambda message: message[0])]
    return [" ".join(instructions), *turns] if instructions else turns


def decodings(own: DecodingSettings, task: Task) -> list[DecodingSettings]:
    """The settings of each different reply: the model's own, with its bans and least length kept, but for what the
    task asks. Without sampling all replies are the same, and one is written for all.
    """
    settings = own
    if task.temperature > 0:
        temperature = max(task.temperature, MIN_TEMPERATURE)
        settings = replace(own, num_beams=1, do_sample=True, temperature=temperature, top_k=0, top_p=task.top_p)
    if task.max_tokens is not None:
        ends = 1 if own.forced_eos_token_id is None else 2
        longest = min(own.max_length, task.max_tokens + ends)
        settings = replace(settings, max_length=longest, min_length=min(own.min_length, longest))
    if task.ignore_eos:
        settings = replace(settings, min_length=settings.max_length)
    if not settings.do_sample:
        return [settings]
    seeds = [None if task.seed is None else task.seed % SEEDS + place * SEEDS for place in range(task.choices)]
    return [replace(settings, seed=seed) for seed in seeds]
