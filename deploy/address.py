"""Addresses of the machines of a cluster, and whether they lead anywhere."""

from __future__ import annotations

import re
import socket

from service.errors import ConfigurationError

# Where the head of a cluster listens. Ray's own choice is 6379, which a Redis on the same machine would have.
PORT = 6380
CONNECT_S = 2.0
NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*")


def name_or_address(text: str) -> str:
    """A machine as a flag names it.

    Raises:
        ValueError: what is taken.
    """
    if not NAME.fullmatch(text.strip()):
        raise ValueError("a name or an IPv4 address, such as 10.0.0.1, without a port")
    return text.strip()


def own_address(towards: str) -> str:
    """The address of this machine on the way to another one.

    Raises:
        ConfigurationError: there is none that other machines could use.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent.
            probe.connect((towards, PORT))
            address = str(probe.getsockname()[0])
    except OSError as error:
        raise ConfigurationError(f"There is no way from here to {towards} ({error.strerror}).") from error
    if address.startswith("127."):
        raise ConfigurationError(
            f"{towards} is this machine itself, which says nothing of its address in the network; name that with "
            "--address (make ray-head HOST=...)."
        )
    return address


def unreachable(head: str) -> str:
    """Why nothing of a head can be reached from here, in a sentence; empty when it can."""
    try:
        with socket.create_connection((head, PORT), timeout=CONNECT_S):
            return ""
    except OSError as error:
        cause = error.strerror or str(error)
        return f"No head of a cluster answers at {head}:{PORT} ({cause}); make ray-head starts one there."
