"""`python -m deploy.node`: make this machine the head of a Ray cluster, or one of its other machines."""

from __future__ import annotations

import os
import sys

from deploy.member import Member, MemberConfig
from service import logs
from service.command_line import Program, read_settings
from service.errors import ConfigurationError
from service.options import options_of
from service.signals import on_stop

PROGRAM = Program(
    "python -m deploy.node",
    "Make this machine the head of a Ray cluster, or with --head another machine of it.",
    ("python -m deploy.node --store redis://10.0.0.4:6379/0", "python -m deploy.node --head 10.0.0.1"),
)
OPTIONS = options_of(MemberConfig)


def main(arguments: list[str] | None = None) -> int:
    try:
        words = sys.argv[1:] if arguments is None else arguments
        config = MemberConfig(**read_settings(PROGRAM, words, os.environ, OPTIONS))  # type: ignore[arg-type]
    except ConfigurationError as error:
        logs.complain(str(error))
        return 2
    logs.configure("text")
    try:
        member = Member(config)
    except ConfigurationError as error:
        logs.complain(str(error))
        return 1
    on_stop(member.stop)
    return member.run()


if __name__ == "__main__":
    sys.exit(main())
