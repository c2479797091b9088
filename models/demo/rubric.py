"""The rubric (RUBRIC.md) as code."""

from collections.abc import Set

from models.demo.dialogues import words

FEWEST_WORDS = 6


def on_topic(reply: str, lexicon: Set[str]) -> bool:
    """Whether `reply` holds a whole word of `lexicon`, is long enough and does not stutter."""
    spoken = words(reply)
    stutters = any(a == b == c for a, b, c in zip(spoken, spoken[1:], spoken[2:], strict=False))
    return len(spoken) >= FEWEST_WORDS and not stutters and not lexicon.isdisjoint(_with_stems(spoken))


def recalls(reply: str, name: str) -> bool:
    """Whether `reply` holds `name` as a whole word."""
    return name in reply.replace("'", " ").translate(str.maketrans('.,!?;:"()-', " " * 10)).split()


def _with_stems(spoken: list[str]) -> set[str]:
    """The words, and what stands before an apostrophe in each ("dog's" holds "dog")."""
    return {part for word in spoken for part in (word, word.split("'")[0])}
