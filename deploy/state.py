"""Where a Ray cluster keeps what it knows of itself: in its head's memory, or in Redis, where a new head finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.connection import parse_url

from service.conversations.opening import open_store
from service.errors import ConfigurationError

# Begins the names of Ray's keys, which lie beside the conversations.
NAMESPACE = "chatbot"
REDIS_PORT = 6379
ANY_NUMBER = 10**12
FOREVER_S = 3e9
FORGETFUL = (
    "The head of this Ray cluster keeps the cluster's state in its memory: when the head is lost, every machine stops "
    "serving soon after, for good. Start it with make ray-head STORE=redis://HOST:6379/0, or with RAY_REDIS_ADDRESS."
)


def environment(store: str) -> Mapping[str, str]:
    """Variables with which the head keeps the state in the Redis server of a URL.

    Raises:
        ConfigurationError: Ray cannot use that server.
    """
    scheme, _, _ = store.partition("://")
    if scheme not in {"redis", "rediss"}:
        raise ConfigurationError(
            "A cluster keeps its conversations and its own state in a Redis that all machines reach; "
            "name it, like --store redis://10.0.0.4:6379/0."
        )
    parts = parse_url(store)  # type: ignore[no-untyped-call]
    address = f"{host(store)}:{parts.get('port', REDIS_PORT)}"
    return {
        "RAY_REDIS_ADDRESS": f"rediss://{address}" if scheme == "rediss" else address,
        "RAY_external_storage_namespace": NAMESPACE,
    }


def check(store: str) -> Sequence[str]:
    """What there is to fear for conversations in a store, in sentences. None of them is too old or too many for us.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    opened = open_store(store, capacity=ANY_NUMBER, ttl_s=FOREVER_S)
    opened.close()
    return opened.concerns


def host(store: str) -> str:
    """The machine that a URL of a Redis server names."""
    return str(parse_url(store).get("host", "localhost"))  # type: ignore[no-untyped-call]


def arguments(store: str) -> Sequence[str]:
    """The flags of `ray start --head` for the user by whom the head reaches the Redis server of a URL."""
    parts = parse_url(store)  # type: ignore[no-untyped-call]
    if not parts.get("password"):
        return ()
    return ("--redis-username", parts.get("username") or "default", "--redis-password", parts["password"])


def concern() -> str:
    """What there is to fear for the cluster of this process in a sentence; empty when its state outlives its head."""
    from ray.experimental import internal_kv

    # Ray notes it at the start of a head.
    kind = internal_kv._internal_kv_get(b"extra_usage_tag_gcs_storage", namespace=b"usage_stats")
    return FORGETFUL if kind == b"memory" else ""
