"""`python -m service --check`: what is wrong with the settings, and what would be served with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from models import manifest
from models.folder import DEFAULT_MODEL, MODELS, ModelFolderError
from service.chat.never_say import read as read_phrases
from service.chat.vocabulary import check_folder
from service.conversations.opening import open_store
from service.engine import configuration, machine
from service.engine.errors import EngineError
from service.engine.kernels import library as kernels
from service.engine.machine import available_memory
from service.engine.settings import DecodingSettings
from service.errors import ConfigurationError, ServiceError
from service.http import keys
from service.options import linked, misspelt
from service.serving.provision import ExportFailed, Missing, find, run_export
from service.serving.server import listen
from service.settings import OPTIONS, ServiceConfig

# What a service takes beside its model, mostly libraries.
MEMORY_BYTES_BASE = 200_000_000


class Kind(StrEnum):
    """What a finding means for the service."""

    PROBLEM = "error"
    WARNING = "warning"
    FACT = "fact"


class Finding(NamedTuple):
    """One sentence about the settings."""

    kind: Kind
    sentence: str


def findings(config: ServiceConfig) -> list[Finding]:
    """All that can be said about the settings before anything is served."""
    return [finding for check in CHECKS for finding in check(config)]


def report(findings: Sequence[Finding]) -> int:
    """Print findings, one line each; returns the exit code: 1 when anything is wrong."""
    for finding in findings:
        if finding.kind is not Kind.FACT:
            print(f"{finding.kind}: {finding.sentence}", file=sys.stderr)
    if any(finding.kind is Kind.PROBLEM for finding in findings):
        return 1
    for finding in findings:
        if finding.kind is Kind.FACT:
            print(finding.sentence)
    return 0


def address(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the address can be taken."""
    try:
        listener = listen(config.host, config.port)
    except ConfigurationError as error:
        yield Finding(Kind.PROBLEM, str(error))
        return
    with listener:
        host = listener.getsockname()[0]
    literal = f"[{host}]" if ":" in host else host
    yield Finding(
        Kind.FACT, f"Listens on http://{literal}{f':{config.port}' if config.port else ', on any free port'}."
    )
    if unguarded := keys.unguarded(config, host):
        yield Finding(Kind.WARNING, unguarded)


def model(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the model is there and whole, or could be exported."""
    models = (config.models_dir or MODELS).absolute()
    try:
        folder = find(config.model, models)
        complaint = _obstacle(folder) if isinstance(folder, Missing) else ""
        if complaint and config.model == "auto":
            yield Finding(
                Kind.WARNING,
                f"The demo model would be served instead of {DEFAULT_MODEL}, since that has to be "
                f"exported first: {complaint}",
            )
            folder = find("demo", models)
            complaint = _obstacle(folder) if isinstance(folder, Missing) else ""
        if complaint:
            yield Finding(Kind.PROBLEM, complaint)
        elif isinstance(folder, Missing):
            yield Finding(
                Kind.FACT, f"Serves {folder.model}, once it has been exported to {folder.folder} at the start."
            )
        else:
            checked = manifest.check(folder)
            _check_decoding(folder)
            if config.never_say is not None:
                check_folder(folder)
            yield Finding(Kind.FACT, f"Serves {checked.name} ({checked.quantization['precision']}) from {folder}.")
            needed = MEMORY_BYTES_BASE + sum(record.size for record in checked.files.values())
            if available_memory() < needed:
                yield Finding(
                    Kind.PROBLEM,
                    f"Serving {checked.name} takes at least {needed / 1e9:.1f} GB of memory and "
                    f"{available_memory() / 1e9:.1f} GB are available; close other programs, or take a smaller model.",
                )
    except (ServiceError, EngineError, ModelFolderError) as error:
        yield Finding(Kind.PROBLEM, str(error))


def conversations(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the store of conversations can be opened; a file that is not there yet is made."""
    try:
        store = open_store(config.store, capacity=config.max_conversations, ttl_s=config.conversation_ttl_s)
    except ConfigurationError as error:
        yield Finding(Kind.PROBLEM, str(error))
        return
    yield Finding(Kind.FACT, f"Keeps conversations in {store.place}.")
    for concern in store.concerns:
        yield Finding(Kind.WARNING, concern)
    store.close()


def api_keys(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the file of keys can be read, and by us alone."""
    try:
        count = len(keys.load(config))
    except ConfigurationError as error:
        yield Finding(Kind.PROBLEM, str(error))
        return
    if config.api_keys_file and (exposed := keys.exposed(config.api_keys_file)):
        yield Finding(Kind.WARNING, exposed)
    if count:
        yield Finding(Kind.FACT, f"Requires one of {count} API keys." if count > 1 else "Requires the API key.")


def never_say(config: ServiceConfig) -> Iterator[Finding]:
    """Whether the list of what must not be said can be read."""
    if config.never_say is None:
        return
    try:
        count = len(read_phrases(config.never_say))
    except ConfigurationError as error:
        yield Finding(Kind.PROBLEM, str(error))
        return
    yield Finding(
        Kind.FACT, f"Never says {'the phrase' if count == 1 else f'one of the {count} phrases'} in {config.never_say}."
    )


def threads(config: ServiceConfig) -> Iterator[Finding]:
    """Whether there are as many cores as threads, and how many there are when a quota says so."""
    cores = machine.cores()
    if config.threads > cores.count:
        cause = f" ({cores.reason})" if cores.reason else ""
        yield Finding(
            Kind.WARNING,
            f"--threads {config.threads} is more than the {cores} here{cause}, which slows replies "
            "down; 0 takes one a core.",
        )
    elif not config.threads and cores.reason:
        yield Finding(
            Kind.FACT,
            f"The model runs on {cores.count} thread{'s' if cores.count > 1 else ''}, since {cores.reason}.",
        )


def products(config: ServiceConfig) -> Iterator[Finding]:
    """Which kernels would multiply."""
    chosen = kernels.choose(config.kernels)
    slower = chosen.name == kernels.STOCK != config.kernels
    yield Finding(Kind.WARNING if slower else Kind.FACT, f"Kernels: {chosen.title}.")


def links(_: ServiceConfig) -> Iterator[Finding]:
    """Which variables are named like a setting and are none, since they tell where a service of that name is."""
    for sentence in linked(os.environ, OPTIONS):
        yield Finding(Kind.WARNING, sentence)


def variables(_: ServiceConfig) -> Iterator[Finding]:
    """Which variables are no settings, and look as if they were meant as one."""
    for sentence in misspelt(os.environ, OPTIONS):
        yield Finding(Kind.WARNING, sentence)


def settings(config: ServiceConfig) -> Iterator[Finding]:
    """Which settings are not the defaults."""
    changed = [
        f"{option.flag} {option.shown(getattr(config, name))}"
        for name, option in OPTIONS.items()
        if name != "check" and getattr(config, name) != option.default
    ]
    yield Finding(
        Kind.FACT, f"Settings: {', '.join(changed)}; else the defaults." if changed else "Settings: the defaults."
    )


CHECKS: tuple[Callable[[ServiceConfig], Iterator[Finding]], ...] = (
    address,
    model,
    conversations,
    api_keys,
    never_say,
    threads,
    products,
    links,
    variables,
    settings,
)


def _check_decoding(folder: Path) -> None:
    """Refuse an export whose own generation settings the engine does not do.

    Raises:
        UnsupportedSetting: naming the setting.
        ModelFolderError: a configuration is missing or damaged.
    """
    config, generation = configuration.read(folder)
    DecodingSettings.from_generation_config(generation).check_window(config["max_position_embeddings"])


def _obstacle(missing: Missing) -> str:
    """Why a model could not be exported now, in one sentence; empty if it could."""
    try:
        run_export([*missing.arguments, "--check"], stdout=subprocess.DEVNULL)
    except ExportFailed as failure:
        return str(failure)
    return ""
