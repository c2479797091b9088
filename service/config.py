"""Settings of the service: flag over environment over default, read once at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from service.engine.kernels.library import AUTO, STOCK
from service.engine.settings import MOST_ROWS
from service.options import (
    ANY_ORIGIN,
    KEY_RULE,
    Option,
    Program,
    integer,
    keys,
    model,
    networks,
    one_of,
    origins,
    path,
    read_settings,
    seconds,
    store,
    switch,
    text,
)


@dataclass(frozen=True)
class ServiceConfig:
    """One run of the service.

    Attributes:
        model: `auto`, `demo`, an exported folder, or a Hub id.
        models_dir: where exports are looked for and made; None for `models` beside the service.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        threads: processor threads of the model; 0 means one for each core this process may use.
        kernels: `auto` for our own where they are built and the processor has them, `stock` for ONNX Runtime's.
        rows: hypotheses that are computed together, beams times requests; further requests wait.
        queue: requests that may wait; further ones are refused.
        reply_cache: replies kept for who asks the same again; with 0, equal requests are computed one by one.
        never_say: file of words and phrases that no reply may hold.
        client_limit: messages a minute from one address; 0 for no limit.
        trusted_proxies: whose X-Forwarded-For header says where a message came from.
        deadline_s: seconds after which a request is given up.
        drain_timeout_s: seconds that running replies get after SIGTERM.
        max_body_bytes: largest request body.
        max_prompt_chars: longest prompt.
        store: where conversations are kept: `file` (one in the user's data folder), the path of another file, the URL
            of a Redis server, or `memory`.
        max_conversations: conversations kept; the one without a message for longest makes room.
        conversation_ttl_s: seconds without a message after which a conversation is forgotten.
        shared_history: requests without an id share one conversation.
        api_keys: whoever sends one of them may use the service.
        api_keys_file: holds more of them; without any, everyone may.
        cors_origins: whose pages may call: any, those named (with their cookies), or none.
        log_format: `text` or `json`.
        check: say what is wrong with these settings, and serve nothing.
    """

    model: str = "auto"
    models_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 5000
    threads: int = 0
    kernels: str = AUTO
    rows: int = MOST_ROWS
    queue: int = 32
    reply_cache: int = 1000
    never_say: Path | None = None
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
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    api_keys_file: Path | None = None
    cors_origins: tuple[str, ...] = ANY_ORIGIN
    log_format: str = "text"
    check: bool = False


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> ServiceConfig:
    """Read flags and their environment twins `CHATBOT_<FLAG>`.

    Raises:
        ConfigurationError: values are wrong; each line of the message names a flag or variable and what it takes.
    """
    return ServiceConfig(**read_settings(PROGRAM, arguments, environ, OPTIONS, DEFAULTS))  # type: ignore[arg-type]


PROGRAM = Program(
    "python -m service",
    "Serve a Blenderbot chat model over HTTP.",
    (
        "python -m service --model demo",
        "CHATBOT_API_KEYS=$(openssl rand -hex 16) python -m service --host 0.0.0.0 --log-format json",
        "python -m service --check --model models/blenderbot-400M-distill-int8",
    ),
)
DEFAULTS: Mapping[str, object] = {field.name: field.default for field in fields(ServiceConfig)}
YEAR_S = 365 * 24 * 3600

MODEL = "model"
NETWORK = "network"
LIMITS = "limits"
CONVERSATIONS = "conversations"
SECURITY = "security"
LOGGING = "logging and checking"

OPTIONS: Mapping[str, Option] = {
    "model": Option(
        MODEL,
        "--model",
        "auto (an exported facebook/blenderbot-400M-distill, exported now if the Hub answers, else the demo model), "
        "demo, an exported folder, or a Hub id",
        model,
        "MODEL",
    ),
    "models_dir": Option(
        MODEL,
        "--models-dir",
        "folder where exported models are looked for, and exported to",
        path,
        "FOLDER",
        default="models",
    ),
    "threads": Option(
        MODEL,
        "--threads",
        "processor threads of the model, 0 for one a core",
        integer(0, 1024),
        "N",
    ),
    "kernels": Option(
        MODEL,
        "--kernels",
        "auto (the fastest that this processor has), or stock (ONNX Runtime's own, without those of this project)",
        one_of(AUTO, STOCK),
        f"{AUTO}|{STOCK}",
    ),
    "rows": Option(
        MODEL,
        "--rows",
        "hypotheses computed together, beams times requests; further requests wait",
        integer(1, 1000),
        "N",
    ),
    "host": Option(NETWORK, "--host", "address to listen on, 0.0.0.0 for all", text, "HOST"),
    "port": Option(NETWORK, "--port", "TCP port, 0 for any free one", integer(0, 65535), "PORT"),
    "trusted_proxies": Option(
        NETWORK,
        "--trusted-proxies",
        "proxies whose X-Forwarded-For is believed, addresses or networks",
        networks,
        "A,B,...",
    ),
    "drain_timeout_s": Option(
        NETWORK,
        "--drain-timeout",
        "seconds that running replies get after SIGTERM",
        seconds(0, 3600),
        "SECONDS",
    ),
    "queue": Option(LIMITS, "--queue", "requests that may wait; further ones are refused", integer(1, 10_000), "N"),
    "never_say": Option(
        MODEL,
        "--never-say",
        "file of words and phrases that no reply may hold, one a line; read once, at the start",
        path,
        "FILE",
    ),
    "reply_cache": Option(
        LIMITS,
        "--reply-cache",
        "replies kept in memory for who asks the same again, 0 for none",
        integer(0, 1_000_000),
        "N",
    ),
    "client_limit": Option(
        LIMITS, "--client-limit", "messages a minute from one address, 0 for no limit", integer(0, 1_000_000), "N"
    ),
    "deadline_s": Option(
        LIMITS, "--deadline", "seconds after which a request is given up", seconds(0.1, 3600), "SECONDS"
    ),
    "max_body_bytes": Option(
        LIMITS, "--max-body", "largest request body in bytes", integer(256, 16 * 1024 * 1024), "BYTES"
    ),
    "max_prompt_chars": Option(LIMITS, "--max-prompt", "longest prompt in characters", integer(1, 1_000_000), "N"),
    "store": Option(
        CONVERSATIONS,
        "--store",
        "where they are kept: file (one in the user's data folder), the path of another file, redis://HOST:PORT/DB, "
        "or memory",
        store,
        "STORE",
    ),
    "max_conversations": Option(CONVERSATIONS, "--conversations", "conversations kept", integer(1, 10_000_000), "N"),
    "conversation_ttl_s": Option(
        CONVERSATIONS,
        "--conversation-ttl",
        "seconds without a message after which a conversation is forgotten",
        seconds(1, 10 * YEAR_S),
        "SECONDS",
    ),
    "shared_history": Option(
        CONVERSATIONS,
        "--shared-history",
        "one conversation shared by all requests without an id",
        switch,
        "on|off",
    ),
    "api_keys": Option(
        SECURITY,
        "--api-keys",
        f"{KEY_RULE}, one of which each request must bring as Authorization: Bearer KEY. Flags can be read by every "
        "user of the machine (ps): set the variable, or name a file",
        keys,
        "KEY,KEY,...",
        secret=True,
    ),
    "api_keys_file": Option(
        SECURITY,
        "--api-keys-file",
        "file of such keys, one a line, # before a comment; read once, at the start",
        path,
        "FILE",
    ),
    "cors_origins": Option(
        SECURITY,
        "--cors-origins",
        "origins whose pages may call from a browser: any (without cookies), a list such as https://page.example "
        "(with cookies, between origins of one site), or none",
        origins,
        "A,B,...",
    ),
    "log_format": Option(
        LOGGING,
        "--log-format",
        "text for people, or json for collectors: one object a line, on stderr",
        one_of("text", "json"),
        "text|json",
    ),
    "check": Option(
        LOGGING,
        "--check",
        "say what is wrong with these settings and what would be served, and serve nothing; "
        "exit code 0 if nothing is wrong",
        switch,
        "on|off",
    ),
}
