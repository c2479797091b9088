"""Lines for the encoder to learn the meaning of, noisy as people write and after other lines, as in a talk."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BlenderbotTokenizerFast

from models.demo.tokenizer import encode_history
from models.demo.wording import Rewording

AHEAD = 12
Line = tuple[list[int], NDArray[np.float16]]


@dataclass(frozen=True)
class Source:
    """Texts, the teacher's unit vectors for them [texts, 384], and how often a lesson is one of them."""

    texts: Sequence[str]
    meanings: NDArray[np.float16]
    share: float


class Lessons:
    """Draws batches of lines with what the teacher says of the last one."""

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: BlenderbotTokenizerFast,
        rewording: Rewording,
        context: float,
        seed: int,
    ) -> None:
        self._sources = sources
        self._shares = [source.share for source in sources]
        self._tokenizer = tokenizer
        self._rewording = rewording
        self._context = context
        self._random = Random(seed)
        self._ready: list[Line] = []

    def draw(self, size: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
        """`input_ids` and `attention_mask` [size, length], int64, and the meanings [size, 384], float32."""
        if len(self._ready) < size:
            self._ready = self._lines(AHEAD * size)
        drawn, self._ready = self._ready[:size], self._ready[size:]
        longest = max(len(row) for row, _ in drawn)
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in drawn])
        seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in drawn])
        return ids, seen, torch.tensor(np.stack([meaning for _, meaning in drawn]).astype(np.float32))

    def _lines(self, count: int) -> list[Line]:
        """Lines of like length side by side, the stretches in random order."""
        lines: list[Line] = []
        for _ in range(count):
            source = self._random.choices(self._sources, self._shares)[0]
            index = self._random.randrange(len(source.texts))
            line = self._rewording.draw(source.texts[index].replace("{", "").replace("}", ""), self._random)
            before: list[str] = []
            if self._random.random() < self._context:
                for _ in range(self._random.randint(1, 2)):
                    before.append(self._random.choice(self._random.choice(self._sources).texts))
            lines.append((encode_history(self._tokenizer, [*before, line])[0], source.meanings[index]))
        lines.sort(key=lambda line: len(line[0]) + 3 * self._random.random())
        stretch = count // AHEAD
        stretches = [lines[i : i + stretch] for i in range(0, count, stretch)]
        self._random.shuffle(stretches)
        return [line for stretch in stretches for line in stretch]
