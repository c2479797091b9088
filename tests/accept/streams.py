"""Replies piece by piece: byte-equal to the plain ones, never taken back, and how early the first text comes."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from service.chat.chatbot import Chatbot, Message
from service.chat.prompt import PromptFormat
from service.conversations.conversation import new_id
from service.conversations.memory import MemoryStore
from service.engine.chat_model import load
from service.engine.engine import Engine
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts

PROMPTS = 300


def check() -> list[Line]:
    from transformers import AutoTokenizer

    folder = folders.demo("int8")
    lines = []
    for beams in (1, 4, 10):
        model = load(folder)
        model = replace(model, settings=replace(model.settings, num_beams=beams))
        chatbot = Chatbot(
            Engine(model, queue_size=1, max_rows=40),
            PromptFormat(AutoTokenizer.from_pretrained(folder), window=model.window),
        )
        equal, retracted, shares = 0, 0, []
        for prompt in prompts(PROMPTS):
            plain = _plain(chatbot, prompt)
            text, taken_back, share = _streamed(chatbot, prompt, plain)
            equal += text.encode() == plain.encode()
            retracted += taken_back
            shares.append(share)
        before = f"first text after {statistics.median(shares):.0%} of the reply's time (median)"
        lines += [
            Line(
                f"beam {beams}: {PROMPTS} streams equal the plain replies", f"{equal} equal; {before}", equal == PROMPTS
            ),
            Line(f"beam {beams}: no piece contradicts the final text", f"{retracted} did", not retracted),
        ]
    return lines


def _plain(chatbot: Chatbot, prompt: str) -> str:
    with chatbot.answer(_store(), Message(new_id(), prompt), timeout_s=60) as answer:
        return answer.reply().exchange.reply


def _streamed(chatbot: Chatbot, prompt: str, plain: str) -> tuple[str, int, float]:
    """The joined pieces, whether one of them contradicts `plain`, and the share of the time before the first."""
    started = time.monotonic()
    first, text, contradicted = None, "", 0
    with chatbot.answer(_store(), Message(new_id(), prompt), timeout_s=60) as answer:
        for piece in answer.pieces():
            if piece and first is None:
                first = time.monotonic()
            text += piece
            contradicted |= not plain.startswith(text)
    ended = time.monotonic()
    return text, contradicted, ((first or ended) - started) / (ended - started)


def _store() -> MemoryStore:
    return MemoryStore(capacity=1, ttl_s=60)
