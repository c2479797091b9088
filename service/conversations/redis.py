"""Conversations in Redis, shared by any number of services.

A conversation is a list of exchanges, each numbered, so that its version is the number of the last one. A sorted set
holds when each conversation was last answered. In cluster mode all keys have one hash tag, and so are in one slot.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from service.conversations import redis_scripts, redis_url
from service.conversations.conversation import Conversation, Exchange
from service.conversations.store import KEPT_EXCHANGES, WHOLE, Page
from service.errors import ConfigurationError, ConversationChanged, StoreUnavailable, UnknownConversation

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

PREFIX = "chatbot:"
CLUSTER_PREFIX = PREFIX + "{chatbot}:"
# What a user of the server needs, beside the keys that begin with the prefix.
RIGHTS = (
    *("get", "set", "del", "exists", "expire", "lindex", "llen", "lrange", "ltrim", "rpush"),
    *("zadd", "zcard", "zcount", "zrange", "zrangebyscore", "zrem", "zscore"),
    *("multi", "exec", "evalsha", "script|load"),
)
# Old releases do not say within scripts that it is a matter of permissions.
DENIED = ("permission", "user executing the script")
TRIAL_S = 10
UNBOUNDED = 10**12
TIMEOUT_S = 1.0
RETRIES = 2
# More than threads that could ask at once.
MAX_CONNECTIONS = 2000

# What an acknowledged exchange needs to outlive a crash of the server or of its machine, and what else it needs.
NEEDS = {
    "appendonly": ("yes", "an exchange that was acknowledged is lost when Redis stops"),
    "appendfsync": ("always", "the exchanges of the last second are lost when the machine of Redis fails"),
    "no-appendfsync-on-rewrite": ("no", "exchanges are lost when the machine of Redis fails while it rewrites its log"),
    "maxmemory-policy": ("noeviction", "conversations disappear when the memory of Redis is full"),
}


class RedisStore:
    """See `service.conversations.store.Store`.

    A command whose answer was lost is sent again; an append that had been carried out is not carried out twice. How
    safe an exchange is once it is stored is up to the server's settings, see `NEEDS`.
    """

    def __init__(self, url: str, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            url: `redis://host:port/database`, or what else the client takes.
            capacity: conversations kept.
            ttl_s: seconds after which an unanswered conversation is forgotten.
            clock: seconds since the epoch.

        Raises:
            ConfigurationError: the server cannot be used.
        """
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        try:
            redis_url.check(url)
            self._redis = Redis.from_url(
                url,
                protocol=2,
                decode_responses=True,
                max_connections=MAX_CONNECTIONS,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), RETRIES),
            )
            self._append = self._redis.register_script(redis_scripts.APPEND)
            self._read = self._redis.register_script(redis_scripts.READ)
            self._find = self._redis.register_script(redis_scripts.FIND)
            self._delete = self._redis.register_script(redis_scripts.DELETE)
            self._prefix = self._find_prefix()
            self._redis.set(self._prefix + "secret", secrets.token_hex(32), nx=True)
            self.secret = str(self._redis.get(self._prefix + "secret")).encode()
            self._try_out()
            self.concerns: Sequence[str] = tuple(self._concerns())
        except (RedisError, ValueError, OSError) as error:
            if hasattr(self, "_redis"):
                self._redis.close()
            raise ConfigurationError(f"The conversations cannot be kept in Redis ({_reason(error)}.") from error

    @property
    def place(self) -> str:
        arguments = self._redis.connection_pool.connection_kwargs
        where = f"{arguments['host']}:{arguments.get('port', 6379)}" if "host" in arguments else arguments.get("path")
        return f"Redis at {where}, database {arguments.get('db', 0)}"

    def __len__(self) -> int:
        return self._ask(lambda: int(self._redis.zcount(self._touched, self._oldest, "+inf")))

    def __contains__(self, conversation_id: str) -> bool:
        def ask() -> bool:
            both = self._redis.pipeline()
            both.zscore(self._touched, conversation_id)
            both.exists(self._turns(conversation_id))
            touched, stored = both.execute()
            return self._lives(touched) and bool(stored)

        return self._ask(ask)

    def read(self, conversation_id: str, page: Page = WHOLE) -> Conversation:
        limits = [-1 if page.before is None else page.before, page.max_exchanges, min(page.max_bytes, UNBOUNDED)]
        reply = self._run(self._read, conversation_id, *limits)
        if not reply or not self._lives(reply[0]):
            raise UnknownConversation
        _, version, earlier, records = reply
        return Conversation(tuple(map(_exchange, reversed(records))), version, earlier)

    def find(self, conversation_id: str, key: str) -> Exchange | None:
        reply = self._run(self._find, conversation_id, key, json.dumps(key)[1:-1])
        return _exchange(reply[1]) if reply and self._lives(reply[0]) else None

    def append(self, conversation_id: str, exchange: Exchange, *, version: int, replace: bool = False) -> None:
        # The mark tells this exchange from the same words stored by someone else.
        record = {"number": version + 1, "mark": secrets.token_hex(8), "exchange": asdict(exchange)}
        outcome = self._ask(
            lambda: self._store(conversation_id, version, record, self._clock(), self._capacity, replace=replace)
        )
        if outcome == "gone":
            raise UnknownConversation
        if outcome == "changed":
            raise ConversationChanged

    def delete(self, conversation_id: str) -> None:
        def ask() -> bool:
            lives = self._lives(self._redis.zscore(self._touched, conversation_id))
            self._delete(keys=[self._turns(conversation_id), self._touched], args=[conversation_id])
            return lives

        if not self._ask(ask):
            raise UnknownConversation

    def close(self) -> None:
        self._redis.close()

    def _run(self, script: Script, conversation_id: str, *arguments: str | float) -> list[Any]:
        keys = [self._turns(conversation_id), self._touched]
        return self._ask(lambda: list(script(keys=keys, args=[conversation_id, *arguments])))

    def _turns(self, conversation_id: str) -> str:
        return f"{self._prefix}turns:{conversation_id}"

    @property
    def _touched(self) -> str:
        return f"{self._prefix}touched"

    def _store(
        self,
        conversation_id: str,
        version: int,
        record: Any,
        now: float,
        capacity: int,
        ttl_s: float = 0,
        *,
        replace: bool = False,
    ) -> str:
        """Run the script that appends; a conversation lives for as long as the store says, if not for `ttl_s`."""
        return str(
            self._append(
                keys=[self._turns(conversation_id), self._touched],
                args=[
                    conversation_id,
                    version,
                    json.dumps(record, ensure_ascii=False),
                    now,
                    self._oldest,
                    capacity,
                    KEPT_EXCHANGES,
                    int(ttl_s or self._ttl_s) + 1,
                    self._turns(""),
                    -2 if replace else -1,
                ],
            )
        )

    def _find_prefix(self) -> str:
        """What our keys begin with on this server.

        Raises:
            ValueError: it is a cluster of several shards.
        """
        try:
            self._redis.exists(PREFIX + "touched", PREFIX + "secret")
        except (ClusterCrossSlotError, MovedError):
            try:
                shards = int(self._redis.execute_command("CLUSTER INFO")["cluster_size"])  # type: ignore[no-untyped-call]
            except (ResponseError, KeyError, TypeError):
                shards = 1
            if shards > 1:
                raise ValueError(
                    f"it is a cluster of {shards} shards, and conversations need all their keys in one; name another "
                    "server, or a cluster of one shard"
                ) from None
            return CLUSTER_PREFIX
        return PREFIX

    def _try_out(self) -> None:
        """Do what messages need, each command by itself, with a conversation that is gone a moment later.

        Raises:
            RedisError: the server does not do one of them; it says which.
        """
        trial = secrets.token_hex(16)
        turns, touched = self._turns(trial), self._touched
        # It is the first to make room for others, and takes nobody's place.
        now = self._oldest + TRIAL_S
        commands: Sequence[tuple[str | float, ...]] = (
            ("RPUSH", turns, "trial"),
            ("EXPIRE", turns, TRIAL_S),
            *(
                ("LINDEX", turns, -1),
                ("LLEN", turns),
                ("LRANGE", turns, 0, -1),
                ("LTRIM", turns, -1, -1),
                ("EXISTS", turns),
            ),
            ("ZADD", touched, now, trial),
            *(("ZSCORE", touched, trial), ("ZCARD", touched), ("ZCOUNT", touched, 0, 0)),
            *(("ZRANGE", touched, 0, 0), ("ZRANGEBYSCORE", touched, 0, 0), ("ZREM", touched, trial)),
            ("DEL", turns),
            *(("MULTI",), ("EXEC",)),
        )
        try:
            with self._redis.client() as connection:  # type: ignore[no-untyped-call]
                for command in commands:
                    connection.execute_command(*command)
                for script in (redis_scripts.APPEND, redis_scripts.READ, redis_scripts.FIND, redis_scripts.DELETE):
                    connection.script_load(script)
            for version in (0, 1):
                self._store(trial, version, {"number": version + 1, "mark": trial}, now, UNBOUNDED, TRIAL_S)
            self._delete(keys=[turns, touched], args=[trial])
        except RedisError:
            with suppress(RedisError):
                self._redis.delete(turns)
            raise

    def _concerns(self) -> Iterator[str]:
        """Settings of the server under which conversations may be lost."""
        try:
            settings = self._redis.config_get(*NEEDS)
        except ResponseError:
            settings = {}
        unknown = [name for name in NEEDS if name not in settings]
        if unknown:
            needed = ", ".join(f"{name} {NEEDS[name][0]}" for name in unknown)
            yield f"Redis does not tell its settings; conversations are safe there only with {needed}."
        without_log = settings.get("appendonly") == "no"
        for name, (needed, risk) in NEEDS.items():
            if name in settings and settings[name] != needed and not (without_log and "appendfsync" in name):
                yield f"Redis runs with {name} {settings[name]}, so {risk}; set {name} {needed} there."

    @property
    def _oldest(self) -> float:
        return self._clock() - self._ttl_s

    def _lives(self, touched: Any) -> bool:
        return touched is not None and float(touched) >= self._oldest

    def _ask(self, use: Callable[[], Answer]) -> Answer:
        """What `use` gets from the server, from the one that is there now if another one has taken over.

        Raises:
            StoreUnavailable: it does not answer as it should.
        """
        try:
            try:
                return use()
            except ResponseError as error:
                if not _replaced(error):
                    raise
                self._redis.connection_pool.disconnect(inuse_connections=False)
                return use()
        except RedisError as error:
            logger.error("the conversations in Redis cannot be used: %s", error)
            raise StoreUnavailable(
                "Conversations cannot be read or stored right now (Redis does not answer as it should); "
                "try again in a moment."
            ) from error


def _exchange(record: str) -> Exchange:
    content = json.loads(record)
    return Exchange(**(content["exchange"] | {"number": content["number"]}))


def _replaced(error: Exception) -> bool:
    """Whether a server says that it is not the one to write to; old releases say so within another error."""
    return isinstance(error, ReadOnlyError | MovedError) or "READONLY" in str(error)


def _reason(error: Exception) -> str:
    """What is wrong, a bracket, and what would be right."""
    if isinstance(error, ValueError):
        return f"{error}); correct --store"
    words = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if _replaced(error):
        return f"{words}); this server is a replica: name its primary with --store"
    if isinstance(error, ResponseError) and any(code in words for code in DENIED):
        return f"{words}); its user needs the keys ~{PREFIX}* and the commands +{' +'.join(RIGHTS)}"
    if "unknown command" in words.lower():
        return f"{words}); conversations need the commands {' '.join(RIGHTS)}"
    if isinstance(error, AuthenticationError):
        return f"{words}); put the right user and password into --store, in which {redis_url.IN_PASSWORDS}"
    return f"{words}); start the server, or correct --store, which takes a URL such as {redis_url.EXAMPLE}"
