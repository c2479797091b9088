"""`python -m deploy.balancer ADDRESS...`: the configuration of HAProxy before the machines of a cluster.

It is that of `haproxy.cfg`, with a `server` line for each machine in place of the containers that it finds there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from service.errors import ConfigurationError

TEMPLATE = Path(__file__).with_name("haproxy.cfg")
PORT = 5000
CONTAINERS = re.compile(r"^resolvers .*\n(?: +.*\n)+\n|^ +server-template .*\n", re.MULTILINE)
# Ray's proxy answers for its machine, which may be leaving, and passes the other question on to a replica.
CHECK = re.compile(r"^ +option httpchk GET (/\w+)\n", re.MULTILINE)
CHECKS = r"""    option httpchk
    http-check connect
    http-check send meth GET uri /-/healthz
    http-check expect status 200
    http-check connect
    http-check send meth GET uri \1
    http-check expect status 200
"""
UNNAMABLE = re.compile(r"[\[\]]")
# A name that is not known yet does not prevent a start.
START = "init-addr last,libc,none"
ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?")


def configuration(addresses: Sequence[str]) -> str:
    """The text of the configuration.

    Args:
        addresses: `HOST` or `HOST:PORT` of the proxy of each machine, IPv6 addresses in brackets.

    Raises:
        ConfigurationError: one of them is no address, or stands there twice.
    """
    machines = [_machine(address) for address in addresses]
    if len(set(machines)) < len(machines):
        raise ConfigurationError("An address stands there twice; name each machine once.")
    shared = CHECK.sub(CHECKS, CONTAINERS.sub("", TEMPLATE.read_text(encoding="utf-8")))
    return shared + "".join(f"    server {UNNAMABLE.sub('', machine)} {machine} {START}\n" for machine in machines)


def _machine(address: str) -> str:
    match = ADDRESS.fullmatch(address)
    port = int(match.group(2) or PORT) if match else 0
    if match is None or not 0 < port < 2**16:
        raise ConfigurationError(f"{address} is no address; name a machine like 10.0.0.1 or 10.0.0.1:{PORT}.")
    return f"{match.group(1)}:{port}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.balancer", description="Print the configuration of HAProxy before a cluster's machines."
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help=f"a machine, such as 10.0.0.1 or host:{PORT}")
    options = parser.parse_args(arguments)
    try:
        print(configuration(options.addresses), end="")
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
