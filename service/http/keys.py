"""Who may use the service: whoever brings one of its API keys."""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Flask, g, request

from service import echo
from service.errors import ConfigurationError, InvalidKey
from service.http.hosts import loopback
from service.settings import ServiceConfig
from service.values import KEY, KEY_RULE, Unusable, plain

logger = logging.getLogger(__name__)

OPEN = frozenset({"/", "/livez", "/readyz", "/health", "/favicon.ico", "/docs", "/openapi.json"})
OPEN_FOLDER = "/static/"
SCHEME = "bearer"


class Keys:
    """API keys, of which only digests are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = frozenset(map(_digest, keys))

    def __len__(self) -> int:
        return len(self._digests)

    def refusal(self, authorization: str) -> str:
        """Why a request with this header is not answered, in one sentence; empty if it is."""
        key = _key(authorization)
        if not key:
            return "An API key is needed; send the header Authorization: Bearer KEY."
        return "" if key in self else "This API key is not known; ask the operator for one that is."

    def __contains__(self, key: str) -> bool:
        """Whether it is one of them; takes as long for a wrong key as for a right one, whichever it is."""
        digest_of_key = _digest(key)
        equal = False
        for digest in self._digests:
            equal |= hmac.compare_digest(digest, digest_of_key)
        return equal


def load(config: ServiceConfig) -> Keys:
    """The keys of the settings and those of the file that they name.

    Raises:
        ConfigurationError: the file cannot be read, holds none, or something else than keys.
    """
    return Keys([*config.api_keys, *(_read(config.api_keys_file) if config.api_keys_file else ())])


def exposed(path: Path) -> str:
    """One sentence if every user of the machine can read or change a file of keys; else empty."""
    if not path.stat().st_mode & stat.S_IRWXO:
        return ""
    return (
        f"Every user of this machine can read or change the API keys in {path}; "
        f"remove that permission: chmod o-rwx {path}"
    )


def unguarded(config: ServiceConfig, host: str) -> str:
    """One sentence if others than this machine reach an address and no key is asked for; else empty."""
    if loopback(host) or config.api_keys or config.api_keys_file is not None:
        return ""
    return f"Anyone who reaches {host} can use the service; set CHATBOT_API_KEYS to require a key."


def concerns(config: ServiceConfig, host: str) -> Iterator[str]:
    """What there is to fear for a service at an address, each in a sentence."""
    if config.api_keys_file is not None:
        yield from filter(None, [exposed(config.api_keys_file)])
    yield from filter(None, [unguarded(config, host)])


def register(app: Flask, keys: Keys) -> None:
    """Refuse requests without a key, but for what load balancers, the page and preflights ask, and note whose they are.

    Args:
        app: whose requests are looked at.
        keys: the right ones; everyone may use the service when there are none.
    """

    @app.before_request
    def refuse() -> None:
        g.owner = b""
        if not keys:
            return
        if request.method == "OPTIONS" or request.path in OPEN or request.path.startswith(OPEN_FOLDER):
            return
        authorization = request.headers.get("Authorization", "")
        if refusal := keys.refusal(authorization):
            raise InvalidKey(refusal)
        g.owner = _digest(_key(authorization))


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        # What is no path at all may be a key that was meant for --api-keys.
        name = path if path.exists() or (len(path.parts) > 1 and path.parent.is_dir()) else echo.HIDDEN
        raise ConfigurationError(
            f"The API keys in {name} cannot be read ({error.strerror}); name another file with --api-keys-file."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text; it takes {KEY_RULE}, one a line.") from error
    keys = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            plain(line)
        except Unusable as error:
            raise ConfigurationError(f"Line {number} of {path} {error}.") from error
        if not KEY.fullmatch(line):
            raise ConfigurationError(f"Line {number} of {path} is not a key; the file takes {KEY_RULE}, one a line.")
        keys.append(line)
    if not keys:
        raise ConfigurationError(f"{path} holds no API key; put one a line, or leave --api-keys-file out.")
    return keys


def _key(authorization: str) -> str:
    """What stands in a header `Authorization: Bearer KEY`; empty if it is another one."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == SCHEME else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
