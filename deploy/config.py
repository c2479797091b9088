"""Settings of many replicas: those of the service, which each of them gets, and how many there are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from service import settings
from service.command_line import Program, read_mapping, read_settings
from service.conversations.opening import IN_MEMORY
from service.engine.machine import available_cores
from service.errors import ConfigurationError
from service.options import Option, options_of, setting
from service.settings import ServiceConfig
from service.values import integer

REPLICAS = "replicas"


@dataclass(frozen=True)
class ReplicaConfig:
    """One application of replicas.

    Attributes:
        service: settings of each replica; its host and port are those of Ray's proxy.
    """

    service: ServiceConfig = field(default_factory=ServiceConfig)
    replicas: int = setting(
        2,
        REPLICAS,
        "--replicas",
        "copies of the engine, the fewest if --max-replicas is given",
        takes=integer(1, 1000),
        metavar="N",
    )
    max_replicas: int = setting(
        0,
        REPLICAS,
        "--max-replicas",
        "the most of them, when their number follows the load; 0 keeps it fixed",
        takes=integer(0, 1000),
        metavar="N",
    )
    target_requests: int = setting(
        4,
        REPLICAS,
        "--target-requests",
        "requests under way in each replica, above which more are started: at 10 beams, 4 fill a batch of 40 rows",
        takes=integer(1, 10_000),
        metavar="N",
    )
    metrics_port: int = setting(
        9400,
        REPLICAS,
        "--metrics-port",
        "where the first replica of a machine shows its metrics, the next ones at the ports after it; 0 for nowhere",
        takes=integer(0, 65_000),
        metavar="PORT",
    )

    @property
    def max_running(self) -> int:
        """Replicas that may run at once."""
        return max(self.replicas, self.max_replicas)

    @property
    def scales(self) -> bool:
        """Whether their number follows the load."""
        return self.max_running > self.replicas

    @property
    def threads(self) -> int:
        """Processor threads of a replica: those asked for, or its share of this machine's cores."""
        return self.service.threads or max(1, available_cores() // self.max_running)

    @property
    def replica(self) -> ServiceConfig:
        """What a replica is started with."""
        return replace(self.service, threads=self.threads)


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> ReplicaConfig:
    """Read flags and their environment twins `CHATBOT_<FLAG>`.

    Raises:
        ConfigurationError: values are wrong; each line of the message names a flag or variable and what it takes.
    """
    return _config(read_settings(PROGRAM, arguments, environ, OPTIONS))


def from_mapping(content: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> ReplicaConfig:
    """Read settings that a configuration file names like the flags, without the dashes before them.

    Raises:
        ConfigurationError: see `parse`.
    """
    return _config(read_mapping(PROGRAM, content, environ, OPTIONS))


def _config(values: dict[str, object]) -> ReplicaConfig:
    own = {name: values.pop(name) for name in OWN_OPTIONS if name in values}
    config = ReplicaConfig(ServiceConfig(**values), **own)  # type: ignore[arg-type]
    if config.max_replicas and config.max_replicas < config.replicas:
        raise ConfigurationError(
            f"--max-replicas {config.max_replicas} is less than --replicas {config.replicas}; "
            "0 keeps their number fixed."
        )
    if config.service.store == IN_MEMORY and config.max_running > 1:
        raise ConfigurationError(
            "--store memory is one replica's own, and the others would not know its conversations; "
            "name a Redis server, such as redis://127.0.0.1:6379/0, or on one machine a file."
        )
    return config


PROGRAM = Program(
    "python -m deploy",
    "Serve a Blenderbot chat model by several replicas on this machine, with Ray Serve.",
    (
        "python -m deploy --model demo --replicas 2",
        "python -m deploy --store redis://127.0.0.1:6379/0 --replicas 2 --max-replicas 8",
    ),
)
OWN_OPTIONS = options_of(ReplicaConfig)
OPTIONS: Mapping[str, Option] = {**OWN_OPTIONS, **settings.OPTIONS}
