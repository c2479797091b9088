"""`python -m deploy.node`: make this machine the head of a Ray cluster, or one of its other machines."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from deploy.address import machine
from deploy.member import Member, MemberConfig
from service import logs
from service.config import OPTIONS as SERVICE_OPTIONS
from service.errors import ConfigurationError
from service.options import Option, Program, read_settings

PROGRAM = Program(
    "python -m deploy.node",
    "Make this machine the head of a Ray cluster, or with --head another machine of it.",
    ("python -m deploy.node --store redis://10.0.0.4:6379/0", "python -m deploy.node --head 10.0.0.1"),
)
CLUSTER = "cluster"
OPTIONS: Mapping[str, Option] = {
    "head": Option(
        CLUSTER, "--head", "address of the head, for the other machines", machine, "HOST", default="this one"
    ),
    "address": Option(
        CLUSTER, "--address", "of this machine, as the others reach it", machine, "ADDRESS", default="found by itself"
    ),
    "store": Option(
        CLUSTER,
        "--store",
        "URL of the Redis server that keeps the conversations; on the head",
        SERVICE_OPTIONS["store"].convert,
        "URL",
        default="none",
    ),
}
DEFAULTS: Mapping[str, object] = {"head": "", "address": "", "store": ""}


def main(arguments: list[str] | None = None) -> int:
    try:
        config = MemberConfig(
            **read_settings(  # type: ignore[arg-type]
                PROGRAM, sys.argv[1:] if arguments is None else arguments, os.environ, OPTIONS, DEFAULTS
            )
        )
    except ConfigurationError as error:
        logs.complain(str(error))
        return 2
    logs.configure("text")
    try:
        member = Member(config)
    except ConfigurationError as error:
        logs.complain(str(error))
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, member.on_signal)
    return member.run()


if __name__ == "__main__":
    sys.exit(main())
