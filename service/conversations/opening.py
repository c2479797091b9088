"""Which store the setting `--store` names."""

from __future__ import annotations

from pathlib import Path

from service.conversations.store import Store
from service.errors import ConfigurationError

IN_MEMORY = "memory"
DEFAULT_FILE = "file"
FILE_NAME = "conversations.sqlite3"
FOLDER_NAME = "blenderbot-onnx-server"
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def open_store(place: str, *, capacity: int, ttl_s: float) -> Store:
    """Open the store that a setting names.

    Args:
        place: `file` for one in the user's data folder, the path of another file, the URL of a Redis server, or
            `memory`.
        capacity: conversations kept.
        ttl_s: seconds after which an unanswered conversation is forgotten.

    Raises:
        ConfigurationError: it cannot be opened; the message says why and what else there is.
    """
    if place == IN_MEMORY:
        from service.conversations.memory import MemoryStore

        return MemoryStore(capacity=capacity, ttl_s=ttl_s)
    if place.startswith(REDIS_SCHEMES):
        try:
            from service.conversations.redis import RedisStore
        except ModuleNotFoundError:
            raise ConfigurationError(
                "Conversations in Redis need its client; run pip install -r requirements/redis.txt."
            ) from None
        return RedisStore(place, capacity=capacity, ttl_s=ttl_s)
    from platformdirs import user_data_path

    from service.conversations.sqlite import SQLiteStore

    try:
        path = user_data_path(FOLDER_NAME) / FILE_NAME if place == DEFAULT_FILE else Path(place).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            "The conversations cannot be kept in a file of the user, since there is no home folder here; name a path "
            "with --store, or --store memory."
        ) from error
    return SQLiteStore(path, capacity=capacity, ttl_s=ttl_s)
