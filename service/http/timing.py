"""Where the time of a reply went, as clients see it."""

from __future__ import annotations

from service.engine.generation import Timing


def server_timing(timing: Timing) -> str:
    """The header `Server-Timing`, in milliseconds, led by a word where the reply was not computed for this request."""
    origin = "" if timing.origin == "computed" else f"{timing.origin}, "
    return (
        f"{origin}queue;dur={timing.queue_s * 1e3:.0f}, encode;dur={timing.encode_s * 1e3:.0f}, "
        f"decode;dur={timing.decode_s * 1e3:.0f}"
    )
