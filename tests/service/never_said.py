"""Whether a text holds a phrase, found in another way than the service finds it: by a regular expression."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

CONTRACTED = re.compile(r"n['\u2019]t(?![^\W_])")


def holding(phrases: Iterable[str], texts: Iterable[str]) -> list[str]:
    """The texts that hold one of some phrases, which are of letters, digits, spaces and the marks between words."""
    patterns = [r"[\W_]+".join(map(re.escape, re.findall(r"[^\W_]+", _plain(phrase)))) for phrase in phrases]
    found = re.compile(rf"(?<![^\W_])(?:{'|'.join(patterns)})(?![^\W_])")
    return [text for text in texts if found.search(_plain(text))]


def _plain(text: str) -> str:
    """Without case and invisible characters, and with the ending n't as one with its word."""
    seen = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return CONTRACTED.sub("n\u01c2t", unicodedata.normalize("NFKC", seen).casefold())
