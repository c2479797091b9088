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
    ("I will", "I'll"),
    ("you are", "you're"),
    ("is not", "isn't"),
    ("did not", "didn't"),
    ("going to", "gonna"),
    ("want to", "wanna"),
    ("have to", "gotta"),
    ("because", "cause"),
)
SHORT = {
    "you": "u",
    "are": "r",
    "your": "ur",
    "please": "pls",
    "thanks": "thx",
    "to": "2",
    "really": "rly",
    "today": "2day",
}
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
        if random.random() < 0.12:
            line = _misspelt(line, random)
        if random.random() < 0.06:
            line = " ".join(SHORT.get(word, word) if random.random() < 0.6 else word for word in line.split())
        if random.random() < 0.15:
            line = re.sub("(?<!})'", "", line)
        if random.random() < 0.3:
            line = line.rstrip(".?!")
        elif random.random() < 0.06:
            line = line.rstrip(".?!") + random.choice(("!!", "!!!", "...", " :)", " lol", " haha", ":("))
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
    shortened = _exchanged(line, long, short)
    return _exchanged(line, short, long) if shortened == line else shortened


def _exchanged(line: str, old: str, new: str) -> str:
    """`line` with whole words in place of others, but for names of slots."""
    return re.sub(rf"(?<![\w{{]){re.escape(old)}(?![\w}}])", new, line)


def _misspelt(line: str, random: Random) -> str:
    """`line` with a slip in one word: two letters exchanged, one left out, or one said twice."""
    spoken = line.split()
    long = [i for i, word in enumerate(spoken) if len(word) > 3 and word.isalpha()]
    if not long:
        return line
    place = random.choice(long)
    word = spoken[place]
    at = random.randrange(1, len(word) - 1)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    spoken[place] = random.choice(slips)
    return " ".join(spoken)
