"""Small changes to what a user says, as people type: case, punctuation, contractions, a word more or less."""

import re
from collections.abc import Sequence
from random import Random

CONTRACTIONS = (
    ("I am", "I'm"),
    ("do not", "don't"),
    ("I have", "I've"),
    ("it is", "it's"),
    ("what is", "what's"),
    ("What is", "What's"),
    ("cannot", "can't"),
)
OPENERS = ("well,", "so,", "hey,", "oh,", "hi,", "okay,", "you know,", "by the way,", "actually,", "um,", "and")
CLOSERS = ("today", "now", "you know", "really", "too", "haha", "please", "right now", "I think")
KEPT = frozenset(
    (
        *("i", "me", "my", "mine", "you", "your", "yours", "name", "who", "what", "how", "why", "when", "where"),
        *("not", "no", "never", "don't", "dont", "isn't", "can't", "cannot", "nothing"),
    )
)


class Rewording:
    """Draws variants of a user line; words in braces, negations and pronouns are never dropped or replaced."""

    def __init__(self, fillers: Sequence[str]) -> None:
        self._fillers = tuple(fillers)

    def draw(self, line: str, random: Random) -> str:
        """A variant of `line`, its slots still unfilled."""
        if random.random() < 0.35:
            line = self._noisy(line, random)
        if random.random() < 0.3:
            line = _contracted(line, random)
        if random.random() < 0.12:
            opener = random.choice(OPENERS)
            line = f"{opener} {line}" if line[:2] in ("I ", "I'") else f"{opener} {line[0].lower()}{line[1:]}"
        if random.random() < 0.06 and len(line.split()) < 12:
            line = re.sub(r"([.?!]*)$", lambda end: f" {random.choice(CLOSERS)}{end[0]}", line.rstrip(), count=1)
        if random.random() < 0.3:
            line = line.rstrip(".?!")
        if random.random() < 0.35:
            line = "".join(p if p.startswith("{") else p.lower() for p in re.split(r"({\w+})", line))
        elif random.random() < 0.15:
            line = line[0].upper() + line[1:]
        return " ".join(line.split())

    def _noisy(self, line: str, random: Random) -> str:
        kept = []
        for word in line.split():
            loose = "{" not in word and word.lower().strip(".,?!") not in KEPT
            chance = random.random() if loose else 1.0
            if chance >= 0.14:
                kept.append(word)
            elif chance < 0.05 and self._fillers:
                kept.append(random.choice(self._fillers))
        return " ".join(kept) if len(kept) > 1 else line


def _contracted(line: str, random: Random) -> str:
    long, short = random.choice(CONTRACTIONS)
    return line.replace(long, short) if long in line else line.replace(short, long)
