"""Lines that people wrote to each other in everyday chats: the chitchat-dataset package (MIT)."""

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from random import Random

from models.demo.dialogues import words

MAX_WORDS = 14


def load_everyday(count: int, seed: int) -> tuple[str, ...]:
    """At most `count` different lines of 1 to 14 words in ASCII."""
    chats = json.loads(files("chitchat_dataset").joinpath("dataset.json").read_text())
    said = {" ".join(m["text"].split()) for chat in chats.values() for turn in chat["messages"] for m in turn}
    lines = sorted(
        line
        for line in said
        if line.isascii() and 1 <= len(line.split()) <= MAX_WORDS and re.search("[a-z]", line.lower())
    )
    Random(seed).shuffle(lines)
    return tuple(lines[:count])


def unlike(lines: Iterable[str], excluded: Iterable[str]) -> list[int]:
    """The numbers of the lines that are none of `excluded`, in whatever case and punctuation."""
    barred = {" ".join(words(line)) for line in excluded}
    return [number for number, line in enumerate(lines) if " ".join(words(line)) not in barred]
