"""Kinds of arguments, and those that several commands take."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.environment import usable_cores


def positive(text: str, smallest: int = 1) -> int:
    """A whole number of at least `smallest`."""
    if not text.isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {smallest}")
    return int(text)


def number(parser: Any, flag: str, default: Any, meaning: str, kind: Callable[[str], Any] = positive) -> None:
    """An option that takes a number, or several where the default is a list."""
    several = {"nargs": "+"} if isinstance(default, list) else {}
    text = f"{meaning} (default: %(default)s)"
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=text, **several)


def names(parser: Any, flag: str, choices: Iterable[str], default: Iterable[str] | None, meaning: str) -> None:
    """An option that takes names with commas between them, each one of `choices` and twice at most."""
    kind = flag.strip("-").removesuffix("s")

    def chosen(text: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in text.split(","))
        unknown = next((word for word in words if word not in choices), None)
        if unknown is not None:
            raise argparse.ArgumentTypeError(f"there is no {kind} {unknown!r}; choose from {', '.join(choices)}")
        if max(Counter(words).values()) > 2:
            raise argparse.ArgumentTypeError(f"a {kind} runs twice at most")
        return words

    text = meaning if default is None else f"{meaning} (default: {','.join(default)})"
    parser.add_argument(flag, type=chosen, default=default, metavar="A,B,...", help=text)


def add_checkpoint(parser: argparse.ArgumentParser, default: str = "a synthetic one") -> None:
    """What is measured, and where the values go."""
    help_text = f"checkpoint: a folder or a Hub id (default: {default})"
    parser.add_argument("--checkpoint", metavar="DIR_OR_ID", help=help_text)
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write raw values and settings as JSON")


def add_workload(parser: argparse.ArgumentParser, rounds: int, rounds_meaning: str) -> None:
    """The same, with sizes of prompts and replies."""
    add_checkpoint(parser)
    length = partial(positive, smallest=2)  # one token at least, and `</s>`
    number(parser, "--new-tokens", 60, "tokens to generate, </s> included", length)
    number(parser, "--source-tokens", 28, "length of the source, </s> included", length)
    number(parser, "--rounds", rounds, rounds_meaning)
    number(parser, "--threads", usable_cores(), "threads of each model")
