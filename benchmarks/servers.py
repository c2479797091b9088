"""Who can be put under load, and what it takes to get them ready."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import contestants
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, Progress, cached_export, decoding, fixed_length, named_export
from benchmarks.errors import InputError, RivalError
from benchmarks.figures import AGAIN
from benchmarks.prompts import prompts
from benchmarks.schema import Missing, Sizes
from service.engine.kernels import library

OURS = "ours"
STOCK = "stock-dynamic-int8"
TUTORIAL = "tutorial"
PACKAGES: Mapping[str, tuple[str, ...]] = {
    OURS: ("onnxruntime", "flask", "waitress"),
    STOCK: ("onnxruntime", "optimum-onnx", "transformers", "flask", "waitress"),
    TUTORIAL: ("torch", "transformers", "flask", "werkzeug"),
}
NAMES = tuple(PACKAGES)
TITLES = {
    OURS: "**this project**, int8",
    STOCK: "stock Optimum, dynamic int8, one reply after the other",
    TUTORIAL: "the tutorial's app, torch fp32",
}
PRECISION = "int8"
# Our service refuses what is on top of its queue; the others let everybody wait.
MIN_QUEUE = 32


@dataclass(frozen=True)
class Server:
    """One server of a run, with a label of its own; two of one name are an A/A pair, a rival may be missing."""

    label: str
    name: str
    title: str
    command: tuple[str, ...]
    rival: bool = False

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that matter to it."""
        return {package: version(package) for package in PACKAGES.get(self.name, ())}

    @property
    def engine(self) -> dict[str, str]:
        """What else its figures depend on."""
        return {"kernels": library.choose().title} if self.name == OURS else {}


@dataclass(frozen=True)
class LineUp:
    """Who is asked, and what.

    Attributes:
        servers: those that are ready to be started.
        missing: the rivals that are not, and why.
        prompts: messages of as many tokens as was asked for.
        reply_tokens: what a server must count in each reply, special tokens left out.
        decoding: the checkpoint's generation settings, before beam width and length are set.
    """

    servers: Sequence[Server]
    missing: Sequence[Missing] = ()
    prompts: Sequence[str] = ()
    reply_tokens: int = 0
    decoding: Mapping[str, Any] = field(default_factory=dict)


def title(label: str) -> str:
    """What a server is called in tables."""
    name = label.removesuffix(AGAIN)
    return TITLES.get(name, name) + ", again" * (name != label)


def prepare(
    names: Sequence[str],
    checkpoint: Checkpoint,
    exported: Path | None,
    sizes: Sizes,
    cache: Cache,
    progress: Progress,
    *,
    queue: int = MIN_QUEUE,
    timeout_s: float = 300.0,
) -> LineUp:
    """Make what the servers load, unless it is there already.

    Args:
        names: of `NAMES`; one that comes twice runs twice.
        checkpoint: what they all serve.
        exported: folder to use as our export of it; None makes one in the cache.
        sizes: of prompts and replies.
        cache, progress: where models are kept, and what is told about each stage.
        queue: requests that wait at most in our service.
        timeout_s: seconds after which a request is given up.
    """
    exported = exported and exported.expanduser()
    settings = decoding(checkpoint.folder)
    servers: list[Server] = []
    missing: list[Missing] = []
    for name in dict.fromkeys(names):
        try:
            if name == OURS:
                precision = PRECISION if exported is None else named_export(exported)
                folder = exported or cached_export(checkpoint, precision, cache, progress)
                if decoding(folder) != settings:
                    raise InputError(f"{folder} has other generation settings than {checkpoint.folder}.")
                served = fixed_length(folder, sizes.beams, sizes.new_tokens, cache)
                command = _our_command(served, sizes.threads, max(queue, MIN_QUEUE), timeout_s)
                server_title = f"our service on our export, ONNX {precision}"
                server = Server(OURS, OURS, server_title, command)
            elif name == STOCK:
                ready, unready = contestants.prepare([STOCK], checkpoint, {}, cache, progress)
                if unready:
                    raise RivalError(unready[0].reason)
                server_title = f"{ready[0].details}, one reply after the other behind waitress"
                server = _rival(name, server_title, ready[0].folder, sizes)
            else:
                server_title = "the tutorial's app: torch fp32, a thread a request in Flask's development server"
                server = _rival(name, server_title, checkpoint.folder, sizes)
        except RivalError as error:
            missing.append(Missing(name=name, reason=str(error).rstrip(".")))
            continue
        servers += [replace(server, label=label) for label in (name, name + AGAIN)[: names.count(name)]]
    texts = prompts(checkpoint.folder, sizes.source_tokens)
    # A reply that is cut at its full length ends in </s> when the settings say so; no server counts that one.
    reply_tokens = sizes.new_tokens - (settings.get("forced_eos_token_id") is not None)
    return LineUp(servers, missing, texts, reply_tokens, settings)


def _our_command(folder: Path, threads: int, queue: int, timeout_s: float) -> tuple[str, ...]:
    flags = {
        "--model": folder,
        "--host": "127.0.0.1",
        "--port": 0,
        "--threads": threads,
        "--queue": queue,
        "--reply-cache": 0,
        "--deadline": f"{timeout_s:g}",
        "--store": folder.parent / "conversations.sqlite3",
    }
    return (sys.executable, "-m", "service", *(str(part) for flag in flags.items() for part in flag))


def _rival(name: str, server_title: str, folder: Path, sizes: Sizes) -> Server:
    numbers = map(str, (sizes.beams, sizes.new_tokens, sizes.threads))
    command = (sys.executable, "-m", "benchmarks.serving", name, str(folder.resolve()), *numbers)
    return Server(name, name, server_title, command, rival=True)
