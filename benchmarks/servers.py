"""Who can be put under load, and what it takes to get them ready."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import arguments, contestants
from benchmarks.checkpoints import Checkpoint, cached_export, decoding, fixed_length, named_export
from benchmarks.contestants import STOCK
from benchmarks.errors import ArgumentError, InputError
from benchmarks.figures import AGAIN, labels
from benchmarks.prompts import prompts
from benchmarks.schema import Sizes
from benchmarks.session import Session
from service.engine.kernels import library

OURS = "ours"
TUTORIAL = "tutorial"
TITLES = {
    OURS: "**this project**, int8",
    STOCK: "stock Optimum, dynamic int8, one reply after the other",
    TUTORIAL: "the tutorial's app, torch fp32",
}
# Our service refuses what is on top of its queue; the others let everybody wait.
MIN_QUEUE = 32
# Seconds after which a request is given up.
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Server:
    """One server of a run, with a label of its own; two of one name are an A/A pair, a rival may be missing.

    `engine` is what its figures depend on.
    """

    label: str
    name: str
    command: tuple[str, ...]
    rival: bool = False
    engine: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return title(self.label)


@dataclass(frozen=True)
class LineUp:
    """Who is asked, and what.

    Attributes:
        servers: those that are ready to be started.
        sizes: of prompts and replies.
        prompts: messages of that size.
        reply_tokens: what a server must count in each reply, special tokens left out.
    """

    servers: Sequence[Server]
    sizes: Sizes
    prompts: Sequence[str]
    reply_tokens: int


def title(label: str) -> str:
    """What a server is called in tables."""
    name = label.removesuffix(AGAIN)
    return TITLES.get(name, name) + ", again" * (name != label)


def add_options(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """Who is asked, and what our service loads."""
    help_text = "folder that `python -m export` made of it, for our service (default: int8, exported into the cache)"
    parser.add_argument("--exported", type=Path, metavar="DIR", help=help_text)
    arguments.names(parser, "--servers", TITLES, default, "who takes part; one named twice runs twice")
    arguments.number(parser, "--beams", 10, "beam width; 1 is greedy")


def prepare(options: argparse.Namespace, checkpoint: Checkpoint, session: Session, queue: int = MIN_QUEUE) -> LineUp:
    """Make what the servers load, unless it is there already; a rival that cannot be made ready is left out.

    Args:
        options: of the command line: `servers`, `exported`, and the sizes of prompts and replies.
        checkpoint: what they all serve.
        session: of the measurement.
        queue: requests that wait at most in our service.
    """
    if options.new_tokens == checkpoint.positions:
        text = "but a reply of our service has one less at the most."
        raise ArgumentError(f"--new-tokens is {options.new_tokens}, {text}")
    sizes = Sizes.model_validate(options, from_attributes=True)
    settings = decoding(checkpoint.folder)
    servers: list[Server] = []
    for name in dict.fromkeys(options.servers):
        if name == OURS:
            server = _our_service(options.exported, checkpoint, sizes, session, queue)
        elif name == TUTORIAL:
            server = _rival(name, checkpoint.folder, sizes)
        elif ready := contestants.prepare([name], checkpoint, session):
            server = _rival(name, ready[0].folder, sizes)
        else:
            continue
        servers += [replace(server, label=label) for label in labels(name, options.servers)]
    # A reply that is cut at its full length ends in </s> when the settings say so; no server counts that one.
    reply_tokens = sizes.new_tokens - (settings.get("forced_eos_token_id") is not None)
    return LineUp(servers, sizes, prompts(checkpoint.folder, sizes.source_tokens), reply_tokens)


def _our_service(exported: Path | None, checkpoint: Checkpoint, sizes: Sizes, session: Session, queue: int) -> Server:
    exported = exported.expanduser() if exported else cached_export(checkpoint, "int8", session.cache)
    engine = {"precision": named_export(exported), "kernels": library.choose().title}
    if decoding(exported) != decoding(checkpoint.folder):
        raise InputError(f"{exported} has other generation settings than {checkpoint.folder}.")
    folder = fixed_length(exported, sizes.beams, sizes.new_tokens, session.cache)
    flags: dict[str, Any] = {
        "--model": folder,
        "--host": "127.0.0.1",
        "--port": 0,
        "--threads": sizes.threads,
        "--queue": max(queue, MIN_QUEUE),
        "--reply-cache": 0,
        "--deadline": f"{TIMEOUT_S:g}",
        "--store": folder.parent / "conversations.sqlite3",
    }
    command = (sys.executable, "-m", "service", *(str(part) for flag in flags.items() for part in flag))
    return Server(OURS, OURS, command, engine=engine)


def _rival(name: str, folder: Path, sizes: Sizes) -> Server:
    numbers = map(str, (sizes.beams, sizes.new_tokens, sizes.threads))
    command = (sys.executable, "-m", "benchmarks.serving", name, str(folder.resolve()), *numbers)
    return Server(name, name, command, rival=True)
