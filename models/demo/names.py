"""Given names, and the two pieces (head and tail) that the tokenizer cuts each of them into."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

HEAD_COUNTS = {2: 2, 3: 3, 4: 3, 5: 9}
TAIL_COUNT = 2
COMMON = 1450


@dataclass(frozen=True)
class Pieces:
    """Heads begin a name ("Mar"), tails end it ("tin")."""

    heads: frozenset[str]
    tails: frozenset[str]

    def cut(self, name: str) -> tuple[str, str]:
        """The longest head that `name` begins with, and the rest."""
        size = 1
        while size < len(name) and name[: size + 1] in self.heads:
            size += 1
        return name[:size], name[size:]

    def whole(self, name: str) -> bool:
        """Whether `name` becomes one or two tokens."""
        head, tail = self.cut(name)
        return head in self.heads and (not tail or tail in self.tails)


@dataclass(frozen=True)
class Names:
    """Real names, the common ones first, split for good before training."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


def load_names(path: Path) -> Names:
    data = yaml.safe_load(path.read_text())
    return Names(tuple(data["train"]), tuple(data["heldout"]))


def find_pieces(names: Sequence[str]) -> Pieces:
    """The pieces of `names`: every beginning of two to five letters that is frequent enough, then every rest that
    two names share or that a common name needs."""
    starts = Counter(name[:size] for name in names for size in HEAD_COUNTS if len(name) >= size)
    heads: set[str] = set()
    for start, count in sorted(starts.items(), key=lambda item: len(item[0])):
        if count >= HEAD_COUNTS[len(start)] and (len(start) == min(HEAD_COUNTS) or start[:-1] in heads):
            heads.add(start)
    cut = Pieces(frozenset(heads), frozenset()).cut
    tails = Counter(cut(name)[1] for name in names)
    needed = {cut(name)[1] for name in names[:COMMON]}
    return Pieces(frozenset(heads), frozenset(t for t, c in tails.items() if t and (c >= TAIL_COUNT or t in needed)))


class NameSampler:
    """Draws names to train on: real ones, and new ones made of two pieces."""

    def __init__(self, names: Names, pieces: Pieces, synthetic: float = 0.5, single: float = 0.25) -> None:
        self._real = [name for name in names.train if pieces.whole(name)]
        self._heads = sorted(pieces.heads)
        self._tails = sorted(pieces.tails)
        self._pieces = pieces
        self._heldout = frozenset(names.heldout)
        self._synthetic = synthetic
        self._single = single

    def draw(self, random: Random) -> str:
        """A name of one or two tokens that is not held out."""
        if random.random() >= self._synthetic:
            return random.choice(self._real)
        while True:
            tail = "" if random.random() < self._single else random.choice(self._tails)
            name = random.choice(self._heads) + tail
            if name not in self._heldout and self._pieces.whole(name):
                return name
