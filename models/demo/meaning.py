"""What the teacher says about the dialogues: which intent a line has."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from models.demo.dialogues import Exchange, Subject
from models.demo.teacher import Meanings, embed

FILLINGS = 4
BLOCK = 1024
CLOSEST = 16
INTENT_SHARPNESS = 20.0


def label(exchange: Exchange) -> str:
    """The name of an intent among all subjects."""
    return f"{exchange.subject}.{exchange.intent}"


@dataclass(frozen=True)
class Wording:
    """A user line as somebody may write it, its slots filled."""

    text: str
    intent: str


def wordings(subjects: Iterable[Subject], names: Sequence[str], seed: int) -> list[Wording]:
    """Every training line but those that ask for a name that has been told, which say the same while none has been;
    those with slots several times, filled with training values."""
    random = Random(seed)
    made = []
    for subject in subjects:
        for exchange in subject.exchanges:
            if exchange.needs_name:
                continue
            for line in exchange.user.train:
                for _ in range(FILLINGS if "{" in line else 1):
                    made.append(Wording(_filled(line, subject, names, random), label(exchange)))
    return made


def _filled(line: str, subject: Subject, names: Sequence[str], random: Random) -> str:
    values = {slot: random.choice(split.train) for slot, split in subject.slots.items()}
    return line.format_map({"name": random.choice(names), **values})


class Intents:
    """Tells the intents of lines by the training wordings that mean nearly the same."""

    def __init__(self, subjects: Iterable[Subject], known: Sequence[Wording], folder: Path) -> None:
        self.names = tuple(label(exchange) for subject in subjects for exchange in subject.exchanges)
        self._index = {name: i for i, name in enumerate(self.names)}
        self.meanings = embed([wording.text for wording in known], folder)
        self._known = torch.tensor(self.meanings.astype(np.float32))
        self._owners = torch.tensor([self._index[wording.intent] for wording in known])

    def __getitem__(self, intent: str) -> int:
        return self._index[intent]

    def near(self, meanings: Meanings, folder: Path) -> "Near":
        """The closest intents of each line; kept in `folder`, and read from there again."""
        digest = sha256(meanings.tobytes() + self.meanings.tobytes() + "".join(self.names).encode()).hexdigest()[:16]
        kept = folder / f"near-{digest}.npz"
        if not kept.exists():
            parts = [
                self.closeness(torch.tensor(meanings[start : start + BLOCK].astype(np.float32))).topk(self._closest)
                for start in tqdm(range(0, len(meanings), BLOCK), desc="nearest", unit="block", mininterval=5)
            ]
            fresh = kept.with_suffix(".new.npz")
            cosines = torch.cat([part.values for part in parts]).numpy().astype(np.float16)
            np.savez(
                fresh, cosines=cosines, intents=torch.cat([part.indices for part in parts]).numpy().astype(np.int16)
            )
            fresh.replace(kept)
        found = np.load(kept)
        return Near(found["intents"], found["cosines"])

    def closeness(self, meanings: Tensor) -> Tensor:
        """Cosine of each line to the closest wording of each intent, -1 where none is known: [lines, 384] to
        [lines, intents]."""
        near = meanings @ self._known.T
        found = torch.full((len(meanings), len(self.names)), -1.0)
        return found.scatter_reduce(1, self._owners.expand(len(meanings), -1), near, "amax")

    @property
    def _closest(self) -> int:
        return min(CLOSEST, len(self.names))


@dataclass(frozen=True)
class Near:
    """The intents that are closest to each line, the closest first: numbers and cosines, [lines, at most 16]."""

    intents: NDArray[np.int16]
    cosines: NDArray[np.float16]


class UserLines:
    """Draws user lines of exchanges: their wordings, and everyday lines that mean about the same as one of these.

    Exchanges that a talk must lead to have none of the latter, nor have those whose reply copies a value.
    """

    def __init__(
        self,
        subjects: Iterable[Subject],
        everyday: Sequence[str],
        near: Near,
        intents: Intents,
        least: float,
        share: float,
    ) -> None:
        """
        Args:
            subjects: the dialogues, with the reply to learn first.
            everyday: lines.
            near: the intents closest to these lines.
            intents: which `near` numbers.
            least: the cosine to a wording at which an everyday line counts as one.
            share: how often such a line is drawn, where there are ten or more.
        """
        self._share = share
        taken = _taken(near, intents, least)
        self._taken = {
            label(exchange): tuple(without_braces(everyday[i]) for i in taken[label(exchange)])
            for subject in subjects
            for exchange in subject.exchanges
            if exchange.free and "{" not in exchange.reply.train[0] and label(exchange) in taken
        }

    @property
    def sizes(self) -> dict[str, int]:
        """How many everyday lines each intent has that has any."""
        return {intent: len(lines) for intent, lines in self._taken.items()}

    def draw(self, exchange: Exchange, random: Random) -> str:
        """A user line, its slots unfilled."""
        everyday = self._taken.get(label(exchange), ())
        taken = everyday and random.random() < self._share * min(1.0, len(everyday) / 10)
        return random.choice(everyday if taken else exchange.user.train)


def _taken(near: Near, intents: Intents, least: float) -> dict[str, list[int]]:
    """The lines, by number, whose closest wording has at least the cosine `least`, by the intent of that wording."""
    found: dict[str, list[int]] = {}
    for line in np.flatnonzero(near.cosines[:, 0] >= least).tolist():
        found.setdefault(intents.names[near.intents[line, 0]], []).append(line)
    return found


def without_braces(line: str) -> str:
    """The line as it is, where braces would mark slots."""
    return re.sub("[{}]", "", line)
