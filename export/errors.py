"""Everything that can stop an export, each with one sentence for the user.

ExportError
├── HubUnreachable       the Hub did not answer and nothing is cached
├── CheckpointError      not a Blenderbot checkpoint, or files broken or missing
├── ResourceError        too little disk or memory
├── OutputError          the output folder exists, or cannot be replaced or written
└── VerificationError    the exported model does not say what the checkpoint says
"""

from __future__ import annotations


class ExportError(Exception):
    """An export that cannot go on; the message is one sentence that says what is wrong and what would be right."""


class HubUnreachable(ExportError):
    pass


class CheckpointError(ExportError):
    pass


class ResourceError(ExportError):
    pass


class OutputError(ExportError):
    pass


class VerificationError(ExportError):
    pass


def first_line(error: BaseException) -> str:
    """What an error of a library says, short enough to stand in one of our sentences."""
    text = str(error).strip()
    return text.splitlines()[0][:200].rstrip(". ") if text else type(error).__name__
