"""What can stop an export."""

from __future__ import annotations


class ExportError(Exception):
    """An export that cannot go on; the message is one sentence that says what is wrong and what would be right."""


class HubUnreachable(ExportError):
    """The Hub did not answer and nothing is cached."""


class CheckpointError(ExportError):
    """Not a Blenderbot checkpoint, or files broken or missing."""


def first_clause(error: BaseException) -> str:
    """What an error of a library says first, short enough to stand in one of our sentences."""
    text = str(error).strip()
    return text.splitlines()[0].partition(". ")[0][:200].rstrip(". ") if text else type(error).__name__
