"""Who can take part in a load run, and what it takes to get them ready."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import contestants
from benchmarks.cache import Cache
from benchmarks.decoding import decoding, fixed_length
from benchmarks.errors import InputError, RivalError
from benchmarks.load import LoadWorkload, Server
from benchmarks.models import Checkpoint, cached_export, named_export
from benchmarks.runs import Missing

OURS = "ours"
STOCK = "stock-dynamic-int8"
TUTORIAL = "tutorial"
PACKAGES: Mapping[str, tuple[str, ...]] = {
    OURS: ("onnxruntime", "flask", "waitress"),
    STOCK: ("onnxruntime", "optimum-onnx", "transformers", "flask", "waitress"),
    TUTORIAL: ("torch", "transformers", "flask", "werkzeug"),
}
NAMES = tuple(PACKAGES)
PRECISION = "int8"
# Our service refuses what is on top of its queue; the others let everybody wait.
LEAST_QUEUE = 32

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LineUp:
    """Who takes part.

    Attributes:
        servers: those that are ready to be started.
        missing: the rivals that are not, and why.
        decoding: the checkpoint's generation settings, before beam width and length are set.
    """

    servers: tuple[Server, ...]
    missing: tuple[Missing, ...]
    decoding: Mapping[str, Any] = field(default_factory=dict)


def prepare(
    names: Sequence[str],
    checkpoint: Checkpoint,
    exported: Path | None,
    workload: LoadWorkload,
    cache: Cache,
    progress: Progress,
) -> LineUp:
    """Make what the servers load, unless it is there already.

    Args:
        names: of `NAMES`; one that comes twice runs twice.
        checkpoint: what they all serve.
        exported: folder to use as our export of it; None makes one in the cache.
        workload: what they will be asked.
        cache: where exports and converted models are kept.
        progress: told about each stage.

    Raises:
        BenchmarkError: an export of ours failed, or does not have the checkpoint's decoding settings.
    """
    settings = decoding(checkpoint.folder)
    servers: list[Server] = []
    missing: list[Missing] = []
    for name in dict.fromkeys(names):
        try:
            if name == OURS:
                server = _ours(checkpoint, exported, settings, workload, cache, progress)
            elif name == STOCK:
                server = _stock(checkpoint, workload, cache, progress)
            else:
                title = "the tutorial's app: torch fp32, a thread a request in Flask's development server"
                server = _rival(name, title, checkpoint.folder, workload)
        except RivalError as error:
            missing.append(Missing(name, str(error).rstrip(".")))
            continue
        servers.append(server)
        servers += [server.again()] * (names.count(name) - 1)
    return LineUp(tuple(servers), tuple(missing), settings)


def _ours(
    checkpoint: Checkpoint,
    exported: Path | None,
    settings: Mapping[str, Any],
    workload: LoadWorkload,
    cache: Cache,
    progress: Progress,
) -> Server:
    precision = PRECISION if exported is None else named_export(exported)
    folder = exported or cached_export(checkpoint, precision, cache, progress)
    if decoding(folder) != settings:
        raise InputError(f"{folder} has other generation settings than {checkpoint.folder}.")
    served = fixed_length(folder, workload.beams, workload.new_tokens, cache)
    flags = {
        "--model": served,
        "--host": "127.0.0.1",
        "--port": 0,
        "--threads": workload.threads,
        "--queue": max(LEAST_QUEUE, *(loop.most for loop in workload.loops)),
        "--reply-cache": 0,
        "--deadline": f"{workload.timeout_s:g}",
        "--store": served.parent / "conversations.sqlite3",
    }
    command = (sys.executable, "-m", "service", *(str(part) for flag in flags.items() for part in flag))
    title = f"our service on our export, ONNX {precision}" + (", streaming" if workload.stream else "")
    return Server(OURS, OURS, title, command, _versions(OURS), stream=workload.stream)


def _stock(checkpoint: Checkpoint, workload: LoadWorkload, cache: Cache, progress: Progress) -> Server:
    ready, missing = contestants.prepare([STOCK], checkpoint, {}, cache, progress)
    if missing:
        raise RivalError(missing[0].reason)
    return _rival(STOCK, f"{ready[0].title}, one reply after the other behind waitress", ready[0].path, workload)


def _rival(name: str, title: str, folder: Path, workload: LoadWorkload) -> Server:
    numbers = map(str, (workload.beams, workload.new_tokens, workload.threads))
    command = (sys.executable, "-m", "benchmarks.serving", name, str(folder.resolve()), *numbers)
    return Server(name, name, title, command, _versions(name), rival=True)


def _versions(name: str) -> dict[str, str]:
    return {package: version(package) for package in PACKAGES[name]}
