"""Questions that many ask are computed once, and what must not be said is never said, at no cost."""

from __future__ import annotations

import http.client
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from service.chat.chatbot import Chatbot, Message
from service.chat.phrases import Phrases
from service.chat.prompt import PromptFormat
from service.chat.task import Task
from service.chat.vocabulary import ForbiddenPhrases, pieces
from service.conversations.conversation import new_id
from service.conversations.memory import MemoryStore
from service.engine.chat_model import ChatModel, load
from service.engine.engine import Engine
from service.engine.forbidden import Forbidden
from service.engine.settings import DecodingSettings
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts
from tests.service import streams
from tests.service.never_said import holding
from tests.service.process import ServiceProcess

CLIENTS = 100
QUESTION = "Hello, how are you today?"
PROMPTS = 500
PHRASES = 200
TOGETHER = 8
TIMEOUT_S = 300.0
ROUNDS = 7
TIMED_PROMPTS = 40
MAX_COST = 0.03


def check() -> list[Line]:
    folder = folders.demo("int8")
    return [*_asked_together(folder), *_never_said(folder), _cost(folder)]


def _asked_together(demo: Path) -> Iterator[Line]:
    replies: dict[int, set[str]] = {}
    for entries, expected in ((1000, 1), (0, CLIENTS)):
        flags = ("--reply-cache", str(entries), "--queue", str(CLIENTS), "--deadline", str(TIMEOUT_S))
        with ServiceProcess("--model", demo, *flags) as service:
            service.wait_ready()
            with ThreadPoolExecutor(CLIENTS) as pool:
                replies[entries] = set(pool.map(lambda number: _ask(service.port, number), range(CLIENTS)))
            computed = service.metric("chatbot_time_to_first_token_seconds_count")
            yield Line(
                f"{CLIENTS} clients ask the same opening question, by all ways, --reply-cache {entries}: one reply, "
                f"computed {expected} times",
                f"{len(replies[entries])} different replies, computed {computed:.0f} times",
                len(replies[entries]) == 1 and computed == expected,
            )
    yield Line(
        "the reply is the same with and without the cache",
        str(replies[0] == replies[1000]),
        replies[0] == replies[1000],
    )


def _ask(port: int, number: int) -> str:
    """Plain, as a stream, or in OpenAI's way."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        if number % 3 == 2:
            messages = [{"role": "user", "content": QUESTION}]
            connection.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "messages": messages}))
            content = connection.getresponse().read()
            return str(json.loads(content).get("choices", [{"message": {"content": content}}])[0]["message"]["content"])
        stream = number % 3 == 1
        connection.request("POST", "/chatbot", json.dumps({"prompt": QUESTION, "stream": stream}))
        content = connection.getresponse().read()
        return streams.read([content]).text if stream else content.decode()


def _never_said(folder: Path) -> Iterator[Line]:
    asked = prompts(PROMPTS)
    loaded = load(folder)
    greedy = replace(loaded, settings=replace(loaded.settings, num_beams=1))
    listed = _listed(_each(_chatbot(folder, loaded), asked, _plain))
    automaton = Phrases(listed)
    forbidden = _forbidden(folder, loaded, automaton)
    for name, model, ways in (
        ("beam 10", loaded, (_plain, _streamed)),
        ("greedy", greedy, (_plain, _streamed)),
        ("sampling", loaded, (_drawn, _drawn_stream)),
    ):
        free = holding(listed, _each(_chatbot(folder, model), asked, ways[0]))
        chatbot = _chatbot(folder, model, forbidden, automaton)
        for way in ways:
            replies = _each(chatbot, asked, way)
            held, empty = holding(listed, "\0".join(replies).split("\0")), [r for r in replies if not r]
            yield Line(
                f"{name}, {way.__name__.strip('_')}: none of {PROMPTS} replies, nor what is shown of them, "
                f"holds one of {len(listed)} phrases, and there always is one",
                f"{len(held)} hold one, {len(empty)} are empty; without the list {len(free)} hold one",
                not held and not empty and len(free) > PROMPTS / 4,
            )


def _cost(folder: Path) -> Line:
    """Time of replies one at a time that are the same with a list as without, so that they take the same steps."""
    loaded = load(folder, threads=1)
    formatted = _format(folder, loaded)
    said = _each(_chatbot(folder, loaded), prompts(3 * TIMED_PROMPTS), _plain)
    listed = _listed(said[TIMED_PROMPTS:], unsaid=said[:TIMED_PROMPTS])
    engines = [
        Engine(loaded, queue_size=1, max_rows=10, forbidden=forbidden)
        for forbidden in (None, _forbidden(folder, loaded, Phrases(listed)))
    ]
    sources = [formatted.encode([prompt]).ids for prompt in prompts(3 * TIMED_PROMPTS)[:TIMED_PROMPTS]]
    plain, kept = ([_ids(engine, source) for source in sources] for engine in engines)
    same = [source for source, one, other in zip(sources, plain, kept, strict=True) if one == other]
    best = [[math.inf] * len(same) for _ in engines]
    for _ in range(ROUNDS):
        for place, source in enumerate(same):
            for engine, seconds in zip(engines, best, strict=True):
                started = time.monotonic()
                _ids(engine, source)
                seconds[place] = min(seconds[place], time.monotonic() - started)
    for engine in engines:
        engine.close()
    without, cost = sum(best[0]) / len(same), sum(best[1]) / sum(best[0]) - 1
    return Line(
        f"a list of {len(listed)} phrases costs less than {MAX_COST:.0%} of a reply's time at beam 10",
        f"{cost:+.1%} of {without * 1e3:.1f} ms ({len(same)} replies that stay the same, best of {ROUNDS} each)",
        cost < MAX_COST and len(same) > TIMED_PROMPTS / 2,
    )


def _ids(engine: Engine, source: list[int]) -> list[int]:
    return engine.submit(source, timeout_s=TIMEOUT_S).wait(TIMEOUT_S).ids


def _listed(replies: list[str], unsaid: Sequence[str] = ()) -> list[str]:
    """Words and phrases that the model likes to say, in none of the replies `unsaid`."""
    draw = random.Random(2)
    found: dict[str, None] = {}
    while len(found) < PHRASES:
        words = re.findall(r"[^\W_]+", draw.choice(replies))
        size = draw.choice((1, 1, 2, 3))
        start = draw.randrange(max(1, len(words) - size + 1))
        phrase = " ".join(words[start : start + size])
        if len(phrase) > 3 and not holding([phrase], unsaid):
            found[phrase.upper() if draw.random() < 0.2 else phrase] = None
    return list(found)


def _chatbot(
    folder: Path, model: ChatModel, forbidden: Forbidden | None = None, phrases: Phrases | None = None
) -> Chatbot:
    engine = Engine(model, queue_size=TOGETHER, max_rows=40, forbidden=forbidden)
    return Chatbot(engine, _format(folder, model), never_say=phrases)


def _format(folder: Path, model: ChatModel) -> PromptFormat:
    from transformers import AutoTokenizer

    return PromptFormat(AutoTokenizer.from_pretrained(folder), window=model.window)


def _forbidden(folder: Path, model: ChatModel, phrases: Phrases) -> ForbiddenPhrases:
    from transformers import AutoTokenizer

    settings: DecodingSettings = model.settings
    return ForbiddenPhrases(
        phrases, pieces(AutoTokenizer.from_pretrained(folder), model.vocabulary), end=settings.eos_token_id
    )


def _each(chatbot: Chatbot, asked: list[str], way: Callable[[Chatbot, str], str]) -> list[str]:
    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(lambda prompt: way(chatbot, prompt), asked))


def _plain(chatbot: Chatbot, prompt: str) -> str:
    with chatbot.answer(_store(), Message(new_id(), prompt), timeout_s=TIMEOUT_S) as answer:
        return answer.reply().exchange.reply


def _streamed(chatbot: Chatbot, prompt: str) -> str:
    with chatbot.answer(_store(), Message(new_id(), prompt), timeout_s=TIMEOUT_S) as answer:
        return _shown(answer.pieces())


def _drawn(chatbot: Chatbot, prompt: str) -> str:
    with chatbot.complete(_task(prompt), timeout_s=TIMEOUT_S) as completion:
        completion.finish()
        return completion.streams[0].text


def _drawn_stream(chatbot: Chatbot, prompt: str) -> str:
    with chatbot.complete(_task(prompt), timeout_s=TIMEOUT_S) as completion:
        return _shown(piece.text for piece in completion.pieces())


def _task(prompt: str) -> Task:
    return Task([prompt], temperature=1.0, seed=len(prompt))


def _shown(pieces: Iterator[str]) -> str:
    """Everything that a stream shows on its way, the whole reply last."""
    shown = [""]
    for piece in pieces:
        if piece:
            shown.append(shown[-1] + piece)
    return "\0".join(shown[1:])


def _store() -> MemoryStore:
    return MemoryStore(capacity=1, ttl_s=60)
