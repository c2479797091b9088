"""What the commands share: kinds of arguments, and where progress goes."""

from __future__ import annotations

import argparse
import sys


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def progress(line: str) -> None:
    """Tell the user what goes on."""
    print(line, file=sys.stderr, flush=True)
