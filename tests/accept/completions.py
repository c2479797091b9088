"""Replies as OpenAI's clients ask for them: with stop strings, limits and seeds, whole, streamed and together."""

from __future__ import annotations

import random

from service.chat.chatbot import Chatbot
from service.chat.prompt import PromptFormat
from service.chat.task import Task
from service.engine.chat_model import load
from service.engine.engine import Engine
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts

TASKS = 200
TOGETHER = 8
TEMPERATURES = (0.5, 1.0, 1.5)
ENOUGH = 0.97

Reply = tuple[str, int, str | None]


def check() -> list[Line]:
    from transformers import AutoTokenizer

    folder = folders.demo("int8")
    model = load(folder)
    chatbot = Chatbot(
        Engine(model, queue_size=32, max_rows=40),
        PromptFormat(AutoTokenizer.from_pretrained(folder), window=model.window),
    )
    draw = random.Random(0)
    stopped = equal = leaked = 0
    for prompt in prompts(TASKS):
        task = _task(prompt, draw, _whole(chatbot, Task([prompt]))[0])
        whole, streamed = _whole(chatbot, task), _streamed(chatbot, task)
        stopped += whole[2] == "stop"
        equal += whole == streamed
        leaked += any(stop in streamed[0] for stop in task.stop)
    return [
        Line(f"{TASKS} streams equal the whole replies", f"{equal} equal, {stopped} of them stopped", equal == TASKS),
        Line("no stop string is sent", f"{leaked} were", not leaked),
        *(_seeds(chatbot, temperature) for temperature in TEMPERATURES),
    ]


def _task(prompt: str, draw: random.Random, text: str) -> Task:
    """Decoding of any kind, with stop strings some of which come in the model's own reply."""
    starts = [draw.randrange(len(text)) for _ in range(draw.randrange(4))]
    return Task(
        [prompt],
        temperature=draw.choice((0.0, *TEMPERATURES)),
        top_p=draw.choice((0.5, 0.9, 1.0)),
        seed=draw.randrange(1000),
        max_tokens=draw.choice((None, draw.randrange(1, 70))),
        stop=(*(text[start : start + draw.choice((1, 3, 12))] for start in starts), " the"),
    )


def _whole(chatbot: Chatbot, task: Task) -> Reply:
    with chatbot.complete(task, timeout_s=60) as completion:
        completion.finish()
        (draft,) = completion.streams
        return draft.text, draft.tokens, draft.finish_reason


def _streamed(chatbot: Chatbot, task: Task) -> Reply:
    with chatbot.complete(task, timeout_s=60) as completion:
        text = "".join(piece.text for piece in completion.pieces())
        (draft,) = completion.streams
        return text, draft.tokens, draft.finish_reason


def _seeds(chatbot: Chatbot, temperature: float) -> Line:
    tasks = [Task([prompt], temperature=temperature, seed=seed) for seed, prompt in enumerate(prompts(TASKS))]
    alone = [_whole(chatbot, task)[0] for task in tasks]
    together = []
    for first in range(0, TASKS, TOGETHER):
        running = [chatbot.complete(task, timeout_s=60) for task in tasks[first : first + TOGETHER]]
        for completion in running:
            with completion:
                completion.finish()
                together.append(completion.streams[0].text)
    same = sum(one == other for one, other in zip(alone, together, strict=True))
    return Line(
        f"temperature {temperature}: a seed gives the same reply alone and {TOGETHER} together",
        f"{same} of {TASKS}",
        same >= ENOUGH * TASKS,
    )
