"""The processor cores and the memory that this process may use: those of the machine, within its control groups.

Control groups are read as Linux shows them, version 1, version 2 or both, from the process's own group up to the
topmost that can be seen, since each of them is a limit of its own. What cannot be read is no limit.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
DEFAULT_PERIOD_US = 100_000
MOUNT = re.compile(r"\S+ \S+ \S+ (?P<root>\S+) (?P<folder>\S+) .*- (?P<kind>cgroup2?) \S* (?P<options>\S*)")
OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Cores:
    """Processor cores that this process may use.

    Attributes:
        allowed: cores that it may be scheduled on.
        quota: how many of them it may keep busy on average; infinite without a limit.
        group: control group that sets the quota; None without a limit.
    """

    allowed: int
    quota: float = math.inf
    group: Path | None = None

    @property
    def count(self) -> int:
        """Threads that have a core each; a part of a core counts as one."""
        return self.allowed if self.quota >= self.allowed else max(1, math.ceil(self.quota))

    def __str__(self) -> str:
        return _number_of_cores(self.count)

    @property
    def reason(self) -> str:
        """Why there are fewer than the machine's, in a clause; empty when there are not."""
        if self.quota >= self.allowed:
            return ""
        return f"the control group {self.group} allows {self.quota:.3g} of the {_number_of_cores(self.allowed)}"


def _number_of_cores(count: int) -> str:
    return f"{count} core{'s' if count > 1 else ''}"


class Memory(NamedTuple):
    """Files of a memory controller, and the line of its statistics that tells what it would give back when asked."""

    limit: str
    used: str
    reclaimable: str


MEMORY = {
    1: Memory("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: Memory("memory.max", "memory.current", "inactive_file"),
}


def available_cores() -> int:
    """Processor cores that this process may use, at least 1; a quota counts, rounded up."""
    return cores().count


def cores() -> Cores:
    """Processor cores that this process may use, and which limit says so."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [(quota, group) for version, group in _groups("cpu") if (quota := _quota(version, group)) is not None]
    return Cores(allowed, *min(limits)) if limits else Cores(allowed)


def available_memory() -> int:
    """Bytes that this process can still take; what a group holds as a cache of files counts as free."""
    import psutil

    free = [int(psutil.virtual_memory().available)]
    free += (left for version, group in _groups("memory") if (left := _left(group, MEMORY[version])) is not None)
    return max(0, min(free))


def unsupported() -> str:
    """One sentence if this is no system that we run on; else empty."""
    if all(map(importlib.util.find_spec, ("fcntl", "resource"))):
        return ""
    return "This needs Linux or macOS; on Windows, run it in WSL."


def _quota(version: int, group: Path) -> float | None:
    """Cores that a group may keep busy; None without a limit."""
    if version == 1:
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    else:
        words = _text(group / "cpu.max").split()
        quota, period = (_whole(words[0]), _whole(words[1]) if words[1:] else DEFAULT_PERIOD_US) if words else (None, 0)
    return quota / period if quota and quota > 0 and period and period > 0 else None


def _left(group: Path, files: Memory) -> int | None:
    """Bytes that a group may still take; None without a limit."""
    limit = _number(group / files.limit)
    if limit is None or limit < 0:
        return None
    lines = (line.split() for line in _text(group / "memory.stat").splitlines())
    reclaimable = next((_whole(words[1]) for words in lines if words[:1] == [files.reclaimable] and words[1:]), None)
    return limit - max(0, (_number(group / files.used) or 0) - (reclaimable or 0))


def _groups(controller: str) -> Iterator[tuple[int, Path]]:
    """Version and folder of each control group that limits what this process gets from a controller."""
    own = dict(_own_groups(controller))
    for version, root, mounted in _mounts(controller):
        if version not in own:
            continue
        try:
            inside = own[version].relative_to(root)
        except ValueError:
            inside = PurePosixPath()
        # Of a group outside of the namespace only the topmost folder is there to be seen.
        group = mounted if ".." in inside.parts else mounted / inside
        yield version, group
        yield from ((version, above) for above in group.parents if above.is_relative_to(mounted))


def _own_groups(controller: str) -> Iterator[tuple[int, PurePosixPath]]:
    """Version and path of the groups that this process is in."""
    for line in _text(ROOT / "proc/self/cgroup").splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        if hierarchy == "0" and not controllers:
            yield 2, PurePosixPath(path)
        elif controller in controllers.split(","):
            yield 1, PurePosixPath(path)


def _mounts(controller: str) -> Iterator[tuple[int, PurePosixPath, Path]]:
    """Version, uppermost group and folder of each place where groups can be seen."""
    for line in _text(ROOT / "proc/self/mountinfo").splitlines():
        match = MOUNT.match(line)
        if not match:
            continue
        root, mounted = (OCTAL.sub(lambda code: chr(int(code[1], 8)), match[name]) for name in ("root", "folder"))
        if match["kind"] == "cgroup2":
            yield 2, PurePosixPath(root), ROOT / mounted.lstrip("/")
        elif controller in match["options"].split(","):
            yield 1, PurePosixPath(root), ROOT / mounted.lstrip("/")


def _number(path: Path) -> int | None:
    return _whole(_text(path))


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
