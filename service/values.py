"""What the values of settings can be: each kind makes one of a text, or says what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from service import hub
from service.conversations.opening import DEFAULT_FILE, IN_MEMORY, REDIS_SCHEMES

Number = TypeVar("Number", int, float)

ANY_ORIGIN = ("*",)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
DEFAULT_PORTS = {"http": 80, "https": 443}
KEY = re.compile(r"[\x21-\x7e]{16,512}")
KEY_RULE = "keys of 16 to 512 visible ASCII characters"
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
BYTE_ORDER_MARK = "\ufeff"


class Unusable(ValueError):
    """A value that cannot be meant; the message goes on where the setting's name ends."""


def plain(value: str) -> str:
    """A value as it stands.

    Raises:
        Unusable: it has marks around it that an editor or a file of variables left there.
    """
    value = value.strip()
    if value.startswith(BYTE_ORDER_MARK):
        raise Unusable("begins with a byte order mark; leave it out")
    if len(value) > 1 and QUOTES.get(value[0]) == value[-1]:
        raise Unusable("has quotes around it; leave them out")
    return value


def store(text: str) -> str:
    """Where conversations are kept: a word, a file, or the URL of a Redis server."""
    place = text.strip()
    if place.lower() in (IN_MEMORY, DEFAULT_FILE):
        return place.lower()
    scheme, separator, rest = place.partition(":")
    if separator and (rest.startswith("//") or scheme.lower() in {"redis", "rediss"}):
        place = f"{scheme.lower()}:{rest}"
        if not place.startswith(REDIS_SCHEMES):
            place = ""
    elif place:
        place = str(path(place))
    if not place:
        raise ValueError(f"{DEFAULT_FILE}, {IN_MEMORY}, the path of a file, or a URL such as redis://127.0.0.1:6379/0")
    return place


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("a value that is not empty")
    return value.strip()


def path(value: str) -> Path:
    try:
        return Path(text(value)).expanduser()
    except RuntimeError:
        raise Unusable(f"is {value!r}, and there is no home folder here; name a path without ~") from None


def model(value: str) -> str:
    """A word, a Hub id or an address that stands for one, or a folder."""
    if value.startswith("~"):
        return str(path(value))
    try:
        return hub.read_name(text(value))
    except hub.NoModel as error:
        raise Unusable(f"is {value!r}, {error}") from error


def switch(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in {"on", "true", "yes", "1"}:
        return True
    if lowered in {"off", "false", "no", "0"}:
        return False
    raise ValueError("on or off")


def one_of(*names: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value.strip().lower() not in names:
            raise ValueError(" or ".join(names))
        return value.strip().lower()

    return convert


def integer(low: int, high: int) -> Callable[[str], int]:
    return _between(int, low, high, f"a whole number from {low} to {high}")


def seconds(low: float, high: float) -> Callable[[str], float]:
    return _between(float, low, high, f"a number of seconds from {low:g} to {high:g}")


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = list(_parts(value))
    try:
        return tuple(map(ip_network, parts))
    except ValueError:
        raise ValueError("addresses or networks such as 10.0.0.1,192.168.0.0/16") from None


def keys(value: str) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(_parts(value)))
    if not distinct:
        raise ValueError(f"{KEY_RULE}, with commas between them, and is empty here")
    if not all(map(KEY.fullmatch, distinct)):
        raise ValueError(f"{KEY_RULE}, with commas between them")
    return distinct


def origins(value: str) -> tuple[str, ...]:
    """Origins as browsers name them: lower case, without the port that is the scheme's own."""
    if value.strip().lower() in {"any", "*"}:
        return ANY_ORIGIN
    if value.strip().lower() == "none":
        return ()
    distinct = tuple(dict.fromkeys(map(origin, _parts(value))))
    if not distinct or None in distinct:
        raise ValueError(
            "any, none, or origins such as https://page.example,http://localhost:3000 "
            "(scheme, host and port, no path and no *)"
        )
    return tuple(filter(None, distinct))


def origin(value: str) -> str | None:
    """An origin as browsers name it; None for what is none."""
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        return None
    scheme, separator, host = value.lower().partition("://")
    name = host.removesuffix(f":{port}") if port is not None else host
    if not separator or not SCHEME.fullmatch(scheme) or not HOST.fullmatch(name) or port == 0:
        return None
    return f"{scheme}://{name}" if port in {None, DEFAULT_PORTS.get(scheme)} else f"{scheme}://{name}:{port}"


SEVERAL = frozenset[Callable[[str], object]]({networks, keys, origins})


def _parts(value: str) -> Iterable[str]:
    return filter(None, map(plain, value.split(",")))


def _between(read: Callable[[str], Number], low: Number, high: Number, expected: str) -> Callable[[str], Number]:
    def convert(value: str) -> Number:
        try:
            number = read(value)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return convert
