"""The settings of the service, each said once: its type, its default, its flag, what it does and what it takes.

Flag over environment over default, read once at the start. `python -m service.settings` prints docs/settings.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from models.folder import DEFAULT_MODEL
from service.command_line import Program, read_settings
from service.engine.kernels.library import AUTO, STOCK
from service.engine.settings import MAX_ROWS
from service.options import options_of, setting, tables
from service.values import (
    ANY_ORIGIN,
    KEY_RULE,
    integer,
    keys,
    model,
    networks,
    one_of,
    origins,
    path,
    seconds,
    store,
    switch,
    text,
)

MODEL = "model"
NETWORK = "network"
LIMITS = "limits"
CONVERSATIONS = "conversations"
SECURITY = "security"
LOGGING = "logging and checking"

DAY_S = 24 * 3600


@dataclass(frozen=True)
class ServiceConfig:
    """One run of the service."""

    model: str = setting(
        "auto",
        MODEL,
        "--model",
        f"auto (an exported {DEFAULT_MODEL}, exported now if the Hub answers, else the demo model), "
        "demo, an exported folder, or a Hub id",
        takes=model,
        metavar="MODEL",
    )
    models_dir: Path | None = setting(
        None,
        MODEL,
        "--models-dir",
        "folder where exported models are looked for, and exported to",
        takes=path,
        metavar="FOLDER",
        default_text="models",
    )
    threads: int = setting(
        0, MODEL, "--threads", "processor threads of the model, 0 for one a core", takes=integer(0, 1024), metavar="N"
    )
    kernels: str = setting(
        AUTO,
        MODEL,
        "--kernels",
        "auto (the fastest that this processor has), or stock (ONNX Runtime's own, without those of this project)",
        takes=one_of(AUTO, STOCK),
        metavar=f"{AUTO}|{STOCK}",
    )
    rows: int = setting(
        MAX_ROWS,
        MODEL,
        "--rows",
        "hypotheses computed together, beams times requests; further requests wait",
        takes=integer(1, 1000),
        metavar="N",
    )
    never_say: Path | None = setting(
        None,
        MODEL,
        "--never-say",
        "file of words and phrases that no reply may hold, one a line; read once, at the start",
        takes=path,
        metavar="FILE",
    )

    host: str = setting(
        "127.0.0.1", NETWORK, "--host", "address to listen on, 0.0.0.0 for all", takes=text, metavar="HOST"
    )
    port: int = setting(
        5000, NETWORK, "--port", "TCP port, 0 for any free one", takes=integer(0, 65535), metavar="PORT"
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        (),
        NETWORK,
        "--trusted-proxies",
        "proxies whose X-Forwarded-For is believed, addresses or networks",
        takes=networks,
        metavar="A,B,...",
    )
    drain_timeout_s: float = setting(
        30.0,
        NETWORK,
        "--drain-timeout",
        "seconds that running replies get after SIGTERM",
        takes=seconds(0, 3600),
        metavar="SECONDS",
    )

    queue: int = setting(
        32, LIMITS, "--queue", "requests that may wait; further ones are refused", takes=integer(1, 10_000), metavar="N"
    )
    reply_cache: int = setting(
        1000,
        LIMITS,
        "--reply-cache",
        "replies kept in memory for repeated questions, 0 for none",
        takes=integer(0, 1_000_000),
        metavar="N",
    )
    client_limit: int = setting(
        0,
        LIMITS,
        "--client-limit",
        "messages a minute from one address, each of n and each look at a conversation counted; 0 for no limit",
        takes=integer(0, 1_000_000),
        metavar="N",
    )
    deadline_s: float = setting(
        60.0,
        LIMITS,
        "--deadline",
        "seconds after which a request is given up",
        takes=seconds(0.1, 3600),
        metavar="SECONDS",
    )
    max_body_bytes: int = setting(
        64 * 1024,
        LIMITS,
        "--max-body",
        "largest request body in bytes",
        takes=integer(256, 16 * 1024 * 1024),
        metavar="BYTES",
    )
    max_prompt_chars: int = setting(
        2000, LIMITS, "--max-prompt", "longest prompt in characters", takes=integer(1, 1_000_000), metavar="N"
    )

    store: str = setting(
        "file",
        CONVERSATIONS,
        "--store",
        "where they are kept: file (one in the user's data folder), the path of another file, redis://HOST:PORT/DB, "
        "or memory",
        takes=store,
        metavar="STORE",
    )
    max_conversations: int = setting(
        10_000,
        CONVERSATIONS,
        "--conversations",
        "conversations kept; the least recently used one makes room",
        takes=integer(1, 10_000_000),
        metavar="N",
    )
    conversation_ttl_s: float = setting(
        7.0 * DAY_S,
        CONVERSATIONS,
        "--conversation-ttl",
        "seconds without a message after which a conversation is forgotten",
        takes=seconds(1, 3650 * DAY_S),
        metavar="SECONDS",
    )
    shared_history: bool = setting(
        False,
        CONVERSATIONS,
        "--shared-history",
        "one conversation shared by all requests without an id",
        takes=switch,
        metavar="on|off",
    )

    api_keys: tuple[str, ...] = setting(
        (),
        SECURITY,
        "--api-keys",
        f"{KEY_RULE}, one of which each request must bring as Authorization: Bearer KEY. Flags can be read by every "
        "user of the machine (ps): set the variable, or name a file",
        takes=keys,
        metavar="KEY,KEY,...",
        secret=True,
    )
    api_keys_file: Path | None = setting(
        None,
        SECURITY,
        "--api-keys-file",
        "file of such keys, one a line, # before a comment; read once, at the start",
        takes=path,
        metavar="FILE",
    )
    cors_origins: tuple[str, ...] = setting(
        ANY_ORIGIN,
        SECURITY,
        "--cors-origins",
        "origins whose pages may call from a browser: any (without cookies), a list such as https://page.example "
        "(with cookies, between origins of one site), or none",
        takes=origins,
        metavar="A,B,...",
    )

    log_format: str = setting(
        "text",
        LOGGING,
        "--log-format",
        "text for people, or json for collectors: one object a line, on stderr",
        takes=one_of("text", "json"),
        metavar="text|json",
    )
    check: bool = setting(
        False,
        LOGGING,
        "--check",
        "say what is wrong with these settings and what would be served, and serve nothing; "
        "exit code 0 if nothing is wrong",
        takes=switch,
        metavar="on|off",
    )


OPTIONS = options_of(ServiceConfig)
PROGRAM = Program(
    "python -m service",
    "Serve a Blenderbot chat model over HTTP.",
    (
        "python -m service --model demo",
        "CHATBOT_API_KEYS=$(openssl rand -hex 16) python -m service --host 0.0.0.0 --log-format json",
        "python -m service --check --model models/blenderbot-400M-distill-int8",
    ),
)
PAGE = """# Settings

<!-- Made by `make docs` from service/settings.py. -->

Every flag of `python -m service` has an environment twin. A flag wins over its variable, which wins over the default.
`make serve` takes `MODEL`, `HOST` and `PORT` on its command line. There is more about [the model](model.md) and what it
must not say, [operations](operations.md), and [deployment](deployment.md), with the flags of `python -m deploy`.
"""


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> ServiceConfig:
    """Read flags and their environment twins `CHATBOT_<FLAG>`.

    Raises:
        ConfigurationError: values are wrong; each line of the message names a flag or variable and what it takes.
    """
    return ServiceConfig(**read_settings(PROGRAM, arguments, environ, OPTIONS))  # type: ignore[arg-type]


def page() -> str:
    """Content of docs/settings.md."""
    return PAGE + tables(OPTIONS)


if __name__ == "__main__":
    print(page(), end="")
