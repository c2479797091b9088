"""How people read a text as words: whatever its case, its width, and the marks and signs around them."""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from functools import lru_cache

APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02bc\u02b9`\u00b4\uff07")
# Punctuation that people use in place of letters, beside all symbols.
SIGNS = frozenset("#%&*@\\\u00a7\u00b6\u2020\u2021")
# What is not seen, beside format characters: joiners, fillers and variation selectors.
UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {
    chr(code)
    for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(first, last + 1)
}
# Scripts written without spaces, by the beginning of their characters' names.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "COMBINING KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


class Kind(IntEnum):
    """What a character is to the words around it."""

    GAP = 0
    """Space, punctuation, control characters: between words, however many there are."""
    APOSTROPHE = 1
    """A gap, but for the one in "don't"."""
    LETTER = 2
    """Part of a word, digits too."""
    MARK = 3
    """An accent: part of the word before it; nothing where there is none."""
    SIGN = 4
    """A symbol such as $ or an emoji: a word by itself where it is looked for, elsewhere a gap."""
    SYLLABLE = 5
    """A word by itself: a character of a script that puts no space between words."""


@lru_cache(maxsize=4096)
def read_character(character: str) -> tuple[tuple[str, Kind], ...]:
    """A character as it is compared: without case and compatibility forms, accents apart; empty for an unseen one."""
    if character in APOSTROPHES:
        return (("'", Kind.APOSTROPHE),)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return tuple((part, _kind(part)) for part in folded if not _unseen(part))


def words(text: str) -> list[list[tuple[str, Kind]]]:
    """The words of a text, each as its characters are compared."""
    split: list[list[tuple[str, Kind]]] = [[]]
    for part, kind in (read for character in text for read in read_character(character)):
        if kind is Kind.LETTER or (kind is Kind.MARK and split[-1]):
            split[-1].append((part, kind))
        elif kind in (Kind.SIGN, Kind.SYLLABLE):
            split += [[(part, kind)], []]
        else:
            split.append([])
    return list(filter(None, split))


def _kind(character: str) -> Kind:
    category = unicodedata.category(character)
    if character in APOSTROPHES:
        return Kind.APOSTROPHE
    if category[0] in "LM" and unicodedata.name(character, "").startswith(UNSPACED):
        return Kind.SYLLABLE
    if category[0] in "LN":
        return Kind.LETTER
    if category[0] == "M":
        return Kind.MARK
    return Kind.SIGN if category[0] == "S" or character in SIGNS else Kind.GAP


def _unseen(character: str) -> bool:
    return character in UNSEEN or unicodedata.category(character) == "Cf"
