"""The URL of a Redis server, checked so that each mistake has its own message and no password is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from redis.connection import parse_url

EXAMPLE = "redis://127.0.0.1:6379/0"
IN_PASSWORDS = "# / ? [ in a password are written %23 %2F %3F %5B"
UNREADABLE = f"its URL cannot be read; {IN_PASSWORDS}"
NUMBER = re.compile(r"/?\d*")
NAME = re.compile(r"[a-z_]+")
OPTIONS = frozenset(
    {"db", "protocol", "username", "password", "client_name", "socket_timeout", "socket_connect_timeout"}
    | {"health_check_interval", "max_connections"}
)
TCP_OPTIONS = OPTIONS | {"socket_keepalive"}
TLS_OPTIONS = TCP_OPTIONS | {
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"),
    *("ssl_password", "ssl_min_version", "ssl_ciphers"),
}
OPTIONS_OF_SCHEME = {"unix": OPTIONS, "redis": TCP_OPTIONS, "rediss": TLS_OPTIONS}
VALUES = {"protocol": ("2", "3"), "ssl_cert_reqs": ("none", "optional", "required")}


def check(url: str) -> None:
    """Look at a URL before it is used.

    Args:
        url: begins with `redis://`, `rediss://` or `unix://`.

    Raises:
        ValueError: a clause that says what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(UNREADABLE) from None
    # What follows one of these in a password is taken for another part of the URL.
    if "#" in url or "@" in parts.path + parts.query or port == 0:
        raise ValueError(UNREADABLE)
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("its URL names no socket; it takes one such as unix:///run/redis/redis.sock?db=0")
    elif not NUMBER.fullmatch(unquote(parts.path)):
        raise ValueError(f"the database in its URL is not a number; it takes a URL such as {EXAMPLE}")
    for name, value in _options(parts):
        if value not in VALUES.get(name, (value,)):
            raise ValueError(f"the option {name} of its URL takes {' or '.join(VALUES[name])}")
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        match = re.search(r"'(\w+)'", str(error))
        raise ValueError(
            f"the option {match[1]} of its URL has a value that it does not take" if match else UNREADABLE
        ) from None


def _options(parts: SplitResult) -> Iterator[tuple[str, str]]:
    options = OPTIONS_OF_SCHEME[parts.scheme]
    for option in filter(None, parts.query.split("&")):
        name, equals, value = option.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise ValueError(UNREADABLE)
        if name not in options:
            secure = ", which rediss:// does" if name in TLS_OPTIONS else f"; it takes {', '.join(sorted(options))}"
            raise ValueError(f"its URL has the option {name}, which {parts.scheme}:// does not take{secure}")
        yield name, unquote(value)
