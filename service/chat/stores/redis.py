"""Conversations in Redis, shared by any number of services.

A conversation is a list of exchanges, each numbered, so that its version is the number of the last one. A sorted set
holds when each conversation was last answered.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from service.chat.conversation import Conversation, Exchange
from service.chat.store import KEPT_EXCHANGES
from service.errors import ConfigurationError, ConversationChanged, StoreUnavailable, UnknownConversation

logger = logging.getLogger(__name__)

PREFIX = "chatbot:"
TURNS = PREFIX + "turns:"
TOUCHED = PREFIX + "touched"
SECRET = PREFIX + "secret"
TIMEOUT_S = 1.0
RETRIES = 2
# More than threads that could ask at once.
MOST_CONNECTIONS = 2000

# What an acknowledged exchange needs to outlive a crash of the server or of its machine, and what else it needs.
NEEDS = {
    "appendonly": ("yes", "an exchange that was acknowledged is lost when Redis stops"),
    "appendfsync": ("always", "the exchanges of the last second are lost when the machine of Redis fails"),
    "no-appendfsync-on-rewrite": ("no", "exchanges are lost when the machine of Redis fails while it rewrites its log"),
    "maxmemory-policy": ("noeviction", "conversations disappear when the memory of Redis is full"),
}

# KEYS: conversation, touched. ARGV: id, version, exchange, now, oldest, capacity, kept, seconds to live.
# An exchange that is there already came with an earlier try of the same call, whose answer was lost on the way.
APPEND = """
local touched = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not touched or tonumber(touched) < tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[1])
end
local last = redis.call('LINDEX', KEYS[1], -1)
if last == ARGV[3] then return 'stored' end
local version = last and cjson.decode(last).number or 0
if version ~= tonumber(ARGV[2]) then
    return version == 0 and 'gone' or 'changed'
end
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[7]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[6])
local stale = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[5], 'LIMIT', 0, 100)
if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(excess, 100) - 1)) do table.insert(stale, id) end
end
for _, id in ipairs(stale) do
    redis.call('DEL', '%s' .. id)
    redis.call('ZREM', KEYS[2], id)
end
return 'stored'
""".replace("%s", TURNS)

DELETE = """
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""


class RedisStore:
    """See `service.chat.store.Store`.

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
            self._redis = Redis.from_url(
                url,
                decode_responses=True,
                max_connections=MOST_CONNECTIONS,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), RETRIES),
            )
            self._append = self._redis.register_script(APPEND)
            self._delete = self._redis.register_script(DELETE)
            self._redis.set(SECRET, secrets.token_hex(32), nx=True)
            self.secret = str(self._redis.get(SECRET)).encode()
            self.concerns: Sequence[str] = tuple(self._concerns())
        except (RedisError, ValueError) as error:
            reason = str(error) if isinstance(error, RedisError) else "its URL is none"
            raise ConfigurationError(
                f"The conversations cannot be kept in Redis ({reason}); start the server, or mend --store, which takes "
                "a URL such as redis://127.0.0.1:6379/0."
            ) from error

    @property
    def place(self) -> str:
        arguments = self._redis.connection_pool.connection_kwargs
        where = f"{arguments['host']}:{arguments.get('port', 6379)}" if "host" in arguments else arguments.get("path")
        return f"Redis at {where}, database {arguments.get('db', 0)}"

    def __len__(self) -> int:
        with self._usable():
            return int(self._redis.zcount(TOUCHED, self._oldest, "+inf"))

    def __contains__(self, conversation_id: str) -> bool:
        with self._usable():
            both = self._redis.pipeline()
            both.zscore(TOUCHED, conversation_id)
            both.exists(TURNS + conversation_id)
            touched, stored = both.execute()
        return self._lives(touched) and bool(stored)

    def read(self, conversation_id: str) -> Conversation:
        with self._usable():
            both = self._redis.pipeline()
            both.zscore(TOUCHED, conversation_id)
            both.lrange(TURNS + conversation_id, 0, -1)
            touched, stored = both.execute()
        if not self._lives(touched) or not stored:
            raise UnknownConversation
        records = [json.loads(record) for record in stored]
        return Conversation(tuple(Exchange(**record["exchange"]) for record in records), records[-1]["number"])

    def append(self, conversation_id: str, exchange: Exchange, *, version: int) -> None:
        # The mark tells this exchange from the same words stored by someone else.
        record = {"number": version + 1, "mark": secrets.token_hex(8), "exchange": asdict(exchange)}
        with self._usable():
            outcome = self._append(
                keys=[TURNS + conversation_id, TOUCHED],
                args=[
                    conversation_id,
                    version,
                    json.dumps(record, ensure_ascii=False),
                    self._clock(),
                    self._oldest,
                    self._capacity,
                    KEPT_EXCHANGES,
                    int(self._ttl_s) + 1,
                ],
            )
        if outcome == "gone":
            raise UnknownConversation
        if outcome == "changed":
            raise ConversationChanged

    def delete(self, conversation_id: str) -> None:
        with self._usable():
            lives = self._lives(self._redis.zscore(TOUCHED, conversation_id))
            self._delete(keys=[TURNS + conversation_id, TOUCHED], args=[conversation_id])
        if not lives:
            raise UnknownConversation

    def close(self) -> None:
        self._redis.close()

    def _concerns(self) -> Iterator[str]:
        """Settings of the server under which conversations may be lost."""
        try:
            found = self._redis.config_get(*NEEDS)
        except ResponseError:
            found = {}
        unknown = [name for name in NEEDS if name not in found]
        if unknown:
            needed = ", ".join(f"{name} {NEEDS[name][0]}" for name in unknown)
            yield f"Redis does not tell its settings; conversations are safe there only with {needed}."
        without_log = found.get("appendonly") == "no"
        for name, (needed, danger) in NEEDS.items():
            if name in found and found[name] != needed and not (without_log and "appendfsync" in name):
                yield f"Redis runs with {name} {found[name]}, so {danger}; set {name} {needed} there."

    @property
    def _oldest(self) -> float:
        return self._clock() - self._ttl_s

    def _lives(self, touched: Any) -> bool:
        return touched is not None and float(touched) >= self._oldest

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            logger.error("the conversations in Redis cannot be used: %s", error)
            raise StoreUnavailable(
                "Conversations cannot be read or kept right now (Redis does not answer as it should); "
                "try again in a moment."
            ) from error
