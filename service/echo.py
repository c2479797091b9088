"""How words of users are repeated: none that was not understood and may be a secret in the wrong place."""

from __future__ import annotations

import io
import re
import sys

# What an API key is, and so what any word may be that was put where a key does not belong.
SECRET = re.compile(r"[\x21-\x7e]{16,512}")
FLAG = re.compile(r"--[a-z][a-z_-]{0,29}")
NAME = re.compile(r"[A-Za-z][A-Za-z_-]{0,29}")
HIDDEN = "..."


def spell_out() -> None:
    """Let standard output take every letter: one that its encoding lacks becomes an escape sequence."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def public(text: str) -> str:
    """A URL, or an address, without what may hold a password: the user's part and the query."""
    scheme, separator, rest = text.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def value(text: str) -> str:
    """What a setting is, for a sentence that says what it takes instead."""
    visible = public(text)
    return "not right (it is not shown)" if SECRET.fullmatch(visible) and "://" not in visible else repr(visible)


def flag(word: str) -> str:
    """A word of the command line that is no flag, if it looks like one."""
    before_value = word.partition("=")[0]
    return before_value if FLAG.fullmatch(before_value) else HIDDEN


def name(word: str) -> str:
    """A word of a file that is no setting, if it looks like the name of one."""
    return word if NAME.fullmatch(word) else HIDDEN
