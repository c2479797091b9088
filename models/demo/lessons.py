"""Lines for the encoder to learn the meaning of, noisy as people write and after other lines, as in a talk."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor
from transformers import BlenderbotTokenizerFast

from models.demo.meaning import Guesses, without_braces
from models.demo.teacher import Meanings
from models.demo.tokenizer import history_text
from models.demo.wording import Rewording

AHEAD = 12


@dataclass(frozen=True)
class Source:
    """Texts, what the teacher says of them, and how often a lesson is one of them."""

    texts: Sequence[str]
    meanings: Meanings
    guesses: Guesses
    share: float


@dataclass(frozen=True)
class Lesson:
    """Lines and what the teacher says of the last one of each.

    `input_ids` and `attention_mask` are [lines, length], int64, `meanings` [lines, 384]; `intents` [lines, 16], int64,
    are the likeliest intents, `likely` [lines, 16] how likely each is.
    """

    input_ids: Tensor
    attention_mask: Tensor
    meanings: Tensor
    intents: Tensor
    likely: Tensor


class Lessons:
    """Draws lessons; of lines like in length, since those cost less."""

    def __init__(self, sources: Sequence[Source], tokenizer: BlenderbotTokenizerFast, rewording: Rewording, seed: int):
        self._sources = sources
        self._shares = [source.share for source in sources]
        self._tokenizer = tokenizer
        self._rewording = rewording
        self._random = Random(seed)
        self._ready: list[Lesson] = []

    def draw(self, size: int, context: float) -> Lesson:
        """The next lesson of `size` lines, of which the share `context` have others before them."""
        while not self._ready or len(self._ready[-1].meanings) != size:
            self._ready = self._ahead(size, context)
        return self._ready.pop()

    def _ahead(self, size: int, context: float) -> list[Lesson]:
        drawn = []
        for source in self._random.choices(self._sources, self._shares, k=AHEAD * size):
            index = self._random.randrange(len(source.texts))
            before = self._random.randint(1, 2) if self._random.random() < context else 0
            others = [self._random.choice(self._random.choice(self._sources).texts) for _ in range(before)]
            turns = [without_braces(line) for line in others]
            turns.append(self._rewording.draw(without_braces(source.texts[index]), self._random))
            drawn.append((source, index, history_text(turns)))
        ids = self._tokenizer([text for *_, text in drawn], truncation=True)["input_ids"]
        order = sorted(range(len(drawn)), key=lambda place: len(ids[place]) + 3 * self._random.random())
        lessons = [
            self._lesson([(*drawn[place][:2], ids[place]) for place in order[start : start + size]])
            for start in range(0, len(order), size)
        ]
        self._random.shuffle(lessons)
        return lessons

    def _lesson(self, rows: Sequence[tuple[Source, int, list[int]]]) -> Lesson:
        longest = max(len(ids) for *_, ids in rows)
        pad = self._tokenizer.pad_token_id
        return Lesson(
            torch.tensor([[*ids, *[pad] * (longest - len(ids))] for *_, ids in rows]),
            torch.tensor([[*[1] * len(ids), *[0] * (longest - len(ids))] for *_, ids in rows]),
            torch.tensor(np.stack([source.meanings[index] for source, index, _ in rows]).astype(np.float32)),
            torch.tensor(np.stack([source.guesses.intents[index] for source, index, _ in rows]).astype(np.int64)),
            torch.tensor(np.stack([source.guesses.chances[index] for source, index, _ in rows]).astype(np.float32)),
        )
