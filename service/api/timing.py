"""Where the time of a reply went, as clients are told."""

from __future__ import annotations

from service.engine.generation import Timing


def server_timing(timing: Timing) -> str:
    """The header `Server-Timing`, in milliseconds."""
    return (
        f"queue;dur={timing.queue_s * 1e3:.0f}, encode;dur={timing.encode_s * 1e3:.0f}, "
        f"decode;dur={timing.decode_s * 1e3:.0f}"
    )
