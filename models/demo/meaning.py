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
from torch.nn.functional import cross_entropy, normalize
from tqdm import tqdm

from models.demo.dialogues import Exchange, Subject
from models.demo.teacher import Meanings, embed

FILLINGS = 4
BLOCK = 1024
LIKELIEST = 16
SHARPNESS = 20.0
CLOSENESS = 10.0
TEMPERATURE = 2.0
BREADTH = 1.5
FIT_STEPS = 300
FIT_BATCH = 4096
FIT_RATE = 1e-2
NOISE = 0.05


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
                    made.append(Wording(_filled(line, subject, names, random), exchange.label))
    return made


def _filled(line: str, subject: Subject, names: Sequence[str], random: Random) -> str:
    values = {slot: random.choice(split.train) for slot, split in subject.slots.items()}
    return line.format_map({"name": random.choice(names), **values})


class Intents:
    """Tells the intents of lines by what the teacher says that they mean.

    Scores of a softmax regression, fitted to the wordings with noise on their vectors, and the cosines to the closest
    wording of each intent add up; divided by a temperature, they are about as sure as they are right. An intent that
    covers others gets, on top of its own chance, `BREADTH` times what these have together without the likeliest of
    them: nothing where that one is sure, and the most where all are as likely.
    """

    def __init__(self, subjects: Iterable[Subject], known: Sequence[Wording], folder: Path, seed: int) -> None:
        exchanges = [exchange for subject in subjects for exchange in subject.exchanges]
        self.names = tuple(exchange.label for exchange in exchanges)
        self._index = {name: i for i, name in enumerate(self.names)}
        covering = {covered: self._index[exchange.label] for exchange in exchanges for covered in exchange.covers}
        self._covering = torch.tensor([covering.get(name, len(self.names)) for name in self.names])
        self.meanings = embed([wording.text for wording in known], folder)
        self._known = torch.tensor(self.meanings.astype(np.float32))
        self._owners = torch.tensor([self._index[wording.intent] for wording in known])
        self._regression = _regression(self._known, self._owners, len(self.names), seed)

    def __getitem__(self, intent: str) -> int:
        return self._index[intent]

    def guess(self, meanings: Meanings, folder: Path) -> "Guesses":
        """The likeliest intents of each line; kept in `folder`, and read from there again."""
        settings = (LIKELIEST, SHARPNESS, CLOSENESS, TEMPERATURE, BREADTH, FIT_STEPS, FIT_BATCH, FIT_RATE, NOISE)
        fitted_to = (self._known, self._owners, self._covering)
        made_of = repr(settings).encode() + meanings.tobytes() + b"".join(part.numpy().tobytes() for part in fitted_to)
        kept = folder / f"guesses-{sha256(made_of).hexdigest()[:16]}.npz"
        if not kept.exists():
            parts = [
                self._guess(torch.tensor(meanings[start : start + BLOCK].astype(np.float32)))
                for start in tqdm(range(0, len(meanings), BLOCK), desc="intents", unit="block", mininterval=5)
            ]
            intents, chances, closeness = (torch.cat(found).numpy() for found in zip(*parts, strict=True))
            fresh = kept.with_suffix(".new.npz")
            np.savez(
                fresh,
                intents=intents.astype(np.int16),
                chances=chances.astype(np.float16),
                closeness=closeness.astype(np.float16),
            )
            fresh.replace(kept)
        found = np.load(kept)
        return Guesses(found["intents"], found["chances"], found["closeness"])

    def closeness(self, meanings: Tensor) -> Tensor:
        """Cosine of each line to the closest wording of each intent, -1 where none is known: [lines, 384] to
        [lines, intents]."""
        near = meanings @ self._known.T
        found = torch.full((len(meanings), len(self.names)), -1.0)
        return found.scatter_reduce(1, self._owners.expand(len(meanings), -1), near, "amax")

    @torch.no_grad()
    def _guess(self, meanings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        closeness = self.closeness(meanings)
        scores = (self._regression(SHARPNESS * meanings) + CLOSENESS * closeness) / TEMPERATURE
        chances = scores.softmax(1)
        likeliest = (chances + BREADTH * self._undecided(chances)).topk(min(LIKELIEST, len(self.names)))
        shares = likeliest.values / likeliest.values.sum(1, keepdim=True)
        return likeliest.indices, shares, closeness.gather(1, likeliest.indices[:, :1])[:, 0]

    def _undecided(self, chances: Tensor) -> Tensor:
        """What the intents that each one covers have together, without the likeliest of them: [lines, intents]."""
        covering = self._covering.expand(len(chances), -1)
        zeros = torch.zeros(len(chances), len(self.names) + 1)  # The last place is for those that none covers.
        together, most = zeros.scatter_add(1, covering, chances), zeros.scatter_reduce(1, covering, chances, "amax")
        return (together - most)[:, :-1]


def _regression(known: Tensor, owners: Tensor, intents: int, seed: int) -> torch.nn.Linear:
    """Tells the intent of a vector times `SHARPNESS`; it begins with the mean direction of each intent's wordings."""
    random = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(known.shape[1], intents)
    with torch.no_grad():
        layer.weight.copy_(normalize(torch.zeros_like(layer.weight).index_add(0, owners, known), dim=1))
        layer.bias.zero_()
    optimizer = torch.optim.AdamW(layer.parameters(), FIT_RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, FIT_STEPS)
    for _ in range(FIT_STEPS):
        drawn = torch.randint(len(known), (FIT_BATCH,), generator=random)
        noise = NOISE * torch.randn(FIT_BATCH, known.shape[1], generator=random)
        loss = cross_entropy(layer(SHARPNESS * normalize(known[drawn] + noise, dim=1)), owners[drawn])
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        falling.step()
    return layer


@dataclass(frozen=True)
class Guesses:
    """The intents that lines may have.

    `intents` and `chances`, [lines, at most 16], are their numbers and how likely they are, the likeliest first;
    `closeness`, [lines], is the cosine to the closest wording of the likeliest.
    """

    intents: NDArray[np.int16]
    chances: NDArray[np.float16]
    closeness: NDArray[np.float16]


class UserLines:
    """Draws user lines of exchanges: their wordings, and everyday lines that mean about the same as one of these.

    Exchanges that a talk must lead to have none of the latter, nor have those whose reply copies a value.
    """

    def __init__(
        self,
        subjects: Iterable[Subject],
        everyday: Sequence[str],
        guesses: Guesses,
        intents: Intents,
        least: float,
        share: float,
    ) -> None:
        """
        Args:
            subjects: the dialogues, with the reply to learn first.
            everyday: lines.
            guesses: the intents that these lines may have.
            intents: which `guesses` numbers.
            least: the cosine to a wording at which an everyday line counts as one.
            share: how often such a line is drawn, where there are ten or more.
        """
        self._share = share
        taken = _taken(guesses, intents, least)
        self._taken = {
            exchange.label: tuple(without_braces(everyday[i]) for i in taken[exchange.label])
            for subject in subjects
            for exchange in subject.exchanges
            if exchange.free and "{" not in exchange.reply.train[0] and exchange.label in taken
        }

    @property
    def sizes(self) -> dict[str, int]:
        """How many everyday lines each intent has that has any."""
        return {intent: len(lines) for intent, lines in self._taken.items()}

    def draw(self, exchange: Exchange, random: Random) -> str:
        """A user line, its slots unfilled."""
        everyday = self._taken.get(exchange.label, ())
        taken = everyday and random.random() < self._share * min(1.0, len(everyday) / 10)
        return random.choice(everyday if taken else exchange.user.train)


def _taken(guesses: Guesses, intents: Intents, least: float) -> dict[str, list[int]]:
    """The lines, by number, at least as close as `least` to a wording of their likeliest intent, by that intent."""
    found: dict[str, list[int]] = {}
    for line in np.flatnonzero(guesses.closeness >= least).tolist():
        found.setdefault(intents.names[guesses.intents[line, 0]], []).append(line)
    return found


def without_braces(line: str) -> str:
    """The line as it is, where braces would mark slots."""
    return re.sub("[{}]", "", line)
