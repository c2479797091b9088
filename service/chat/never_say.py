"""The file of words and phrases that no reply may hold."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from service.chat.words import words
from service.errors import ConfigurationError

MAX_BYTES = 100_000
MAX_CHARACTERS = 200
TAKES = "it takes one word or phrase a line, as UTF-8 text"


def read(path: Path) -> list[str]:
    """The words and phrases of a file, one a line.

    Raises:
        ConfigurationError: it cannot be read, or holds none, or something else; one sentence says what is wrong.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"--never-say {path} is {'a folder' if path.is_dir() else 'not a file'}; {TAKES}.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"The file {path} of --never-say cannot be read ({error.strerror}); name another one."
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{path} of --never-say has more than {MAX_BYTES:,} bytes; a shorter list is needed.")
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"Line {line} of {path} is not UTF-8; save the list as UTF-8 text.") from error
    phrases = [_checked(line.strip(), number, path) for number, line in enumerate(lines, 1) if line.strip()]
    if not phrases:
        raise ConfigurationError(f"{path} holds no word; {TAKES}; or leave --never-say out.")
    return list(dict.fromkeys(phrases))


def _checked(phrase: str, number: int, path: Path) -> str:
    where = f"Line {number} of {path}"
    if len(phrase) > MAX_CHARACTERS:
        raise ConfigurationError(
            f"{where} has {len(phrase):,} characters; a word or phrase has {MAX_CHARACTERS} at most."
        )
    if any(unicodedata.category(character) == "Cc" and character != "\t" for character in phrase):
        raise ConfigurationError(f"{where} holds a control character; the file takes UTF-8 text.")
    if not words(phrase):
        raise ConfigurationError(f"{where}, {phrase!r}, is not a word: it has no letters, digits or symbols.")
    return phrase
