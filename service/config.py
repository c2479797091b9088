"""Settings of the service: flag over environment over default, read once at the start."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NoReturn

from service.engine.settings import MOST_ROWS
from service.errors import ConfigurationError

ENVIRONMENT_PREFIX = "CHATBOT_"


@dataclass(frozen=True)
class ServiceConfig:
    """One run of the service.

    Attributes:
        model: `auto`, `demo`, an exported folder, or a Hub id.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        threads: processor threads of the model; 0 means one for each core this process may use.
        rows: hypotheses that are computed together, beams times requests; further requests wait.
        queue: requests that may wait; further ones are refused.
        client_limit: messages a minute from one address; 0 for no limit.
        trusted_proxies: whose X-Forwarded-For header says where a message came from.
        deadline_s: seconds after which a request is given up.
        drain_timeout_s: seconds that running replies get after SIGTERM.
        max_body_bytes: largest request body.
        max_prompt_chars: longest prompt.
        store: where conversations are kept: `file` (one in the user's data folder), the path of another file, the URL
            of a Redis server, or `memory`.
        max_conversations: conversations kept; the least recently used one makes room.
        conversation_ttl_s: seconds after which an untouched conversation is forgotten.
        shared_history: requests without an id share one conversation.
    """

    model: str = "auto"
    host: str = "127.0.0.1"
    port: int = 5000
    threads: int = 0
    rows: int = MOST_ROWS
    queue: int = 32
    client_limit: int = 0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    deadline_s: float = 60.0
    drain_timeout_s: float = 30.0
    max_body_bytes: int = 64 * 1024
    max_prompt_chars: int = 2000
    store: str = "file"
    max_conversations: int = 10_000
    conversation_ttl_s: float = 7 * 24 * 3600.0
    shared_history: bool = False


@dataclass(frozen=True)
class Option:
    """One flag and what it accepts."""

    flag: str
    help: str
    convert: Callable[[str], object]
    metavar: str


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> ServiceConfig:
    """Read flags and their environment twins `CHATBOT_<FLAG>`.

    Raises:
        ConfigurationError: a value is wrong; the message names the flag or variable and what it takes.
    """
    defaults = {field.name: field.default for field in fields(ServiceConfig)}
    values: dict[str, object] = {}
    given = vars(_parser(defaults).parse_args(list(arguments)))
    for name, option in OPTIONS.items():
        variable = ENVIRONMENT_PREFIX + option.flag.removeprefix("--").replace("-", "_").upper()
        for origin, text in ((option.flag, given[name]), (variable, environ.get(variable))):
            if text is None:
                continue
            try:
                values[name] = option.convert(text)
            except ValueError as error:
                raise ConfigurationError(f"{origin} is {text!r}; it takes {error}.") from None
            break
    return ServiceConfig(**values)  # type: ignore[arg-type]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}; python -m service --help lists the flags.")


def _parser(defaults: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m service",
        allow_abbrev=False,
        description="Serve a Blenderbot chat model over HTTP.",
        epilog="Each flag has an environment twin, for example CHATBOT_PORT for --port; a flag wins over it.",
    )
    for name, option in OPTIONS.items():
        described = f"{option.help} (default: {_shown(defaults[name])})"
        if option.convert is _switch:
            parser.add_argument(option.flag, dest=name, nargs="?", const="on", metavar="on|off", help=described)
        else:
            parser.add_argument(option.flag, dest=name, metavar=option.metavar, help=described)
    return parser


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else "none" if default == () else str(default)


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("a value that is not empty")
    return text.strip()


def _switch(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"on", "true", "yes", "1"}:
        return True
    if lowered in {"off", "false", "no", "0"}:
        return False
    raise ValueError("on or off")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        expected = f"a whole number from {low} to {high}"
        try:
            number = int(text)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return convert


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        expected = f"a number of seconds from {low:g} to {high:g}"
        try:
            number = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return convert


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("addresses or networks such as 10.0.0.1,192.168.0.0/16") from None


YEAR_S = 365 * 24 * 3600

OPTIONS: Mapping[str, Option] = {
    "model": Option(
        "--model",
        "auto (an exported facebook/blenderbot-400M-distill, exported now if the Hub answers, else the demo model), "
        "demo, an exported folder, or a Hub id",
        _text,
        "MODEL",
    ),
    "host": Option("--host", "address to listen on", _text, "HOST"),
    "port": Option("--port", "TCP port, 0 for any free one", _integer(0, 65535), "PORT"),
    "threads": Option("--threads", "processor threads of the model, 0 for one a core", _integer(0, 1024), "N"),
    "rows": Option(
        "--rows", "hypotheses computed together, beams times requests; further requests wait", _integer(1, 1000), "N"
    ),
    "queue": Option("--queue", "requests that may wait; further ones are refused", _integer(1, 10_000), "N"),
    "client_limit": Option(
        "--client-limit", "messages a minute from one address, 0 for no limit", _integer(0, 1_000_000), "N"
    ),
    "trusted_proxies": Option(
        "--trusted-proxies", "proxies whose X-Forwarded-For is believed, addresses or networks", _networks, "A,B,..."
    ),
    "deadline_s": Option("--deadline", "seconds after which a request is given up", _seconds(0.1, 3600), "SECONDS"),
    "drain_timeout_s": Option(
        "--drain-timeout", "seconds that running replies get after SIGTERM", _seconds(0, 3600), "SECONDS"
    ),
    "max_body_bytes": Option("--max-body", "largest request body in bytes", _integer(256, 16 * 1024 * 1024), "BYTES"),
    "max_prompt_chars": Option("--max-prompt", "longest prompt in characters", _integer(1, 1_000_000), "N"),
    "store": Option(
        "--store",
        "where conversations are kept: file (one in the user's data folder), the path of another file, "
        "redis://HOST:PORT/DB, or memory",
        _text,
        "STORE",
    ),
    "max_conversations": Option("--conversations", "conversations kept", _integer(1, 10_000_000), "N"),
    "conversation_ttl_s": Option(
        "--conversation-ttl",
        "seconds after which an untouched conversation is forgotten",
        _seconds(1, 10 * YEAR_S),
        "SECONDS",
    ),
    "shared_history": Option(
        "--shared-history",
        "one conversation shared by all requests without an id",
        _switch,
        "on|off",
    ),
}
