"""How much memory a process has taken."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes(pid: int | None = None) -> int:
    """Largest resident memory of a process so far: VmHWM on Linux.

    Elsewhere it is `ru_maxrss` for this process, and what another one holds at this moment. 0 for a process that has
    just ended.

    Args:
        pid: of the process; None means this one.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        lines = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return next((int(line.split()[1]) * 1024 for line in lines), 0)
    if pid is not None:
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
