"""Conversations in one SQLite file, which outlives the process however it ends."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from service.conversations.conversation import Conversation, Exchange
from service.conversations.sqlite_file import check_whole, identity, open_file, reason, unshared
from service.conversations.store import KEPT_EXCHANGES, WHOLE, Page
from service.errors import ConfigurationError, ConversationChanged, StoreUnavailable, UnknownConversation

logger = logging.getLogger(__name__)

COLUMNS = ", ".join(field.name for field in fields(Exchange))
# Forgotten within one append, so that none of them takes long.
MAX_FORGOTTEN = 100


class SQLiteStore:
    """See `service.conversations.store.Store`. Several processes may use one file.

    Each exchange is one transaction, on the disk when `append` returns. After a failure, or when the file has been
    replaced, it is reopened at the next use.
    """

    def __init__(
        self, path: str | Path, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Args:
            path: of the file, made with mode 0600 when there is none.
            capacity: conversations kept.
            ttl_s: seconds after which an unanswered conversation is forgotten.
            clock: seconds since the epoch.

        Raises:
            ConfigurationError: the file cannot be used.
        """
        self.path = Path(path)
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        try:
            connection = self._connected()
            check_whole(connection)
            (self.secret,) = connection.execute("SELECT secret FROM store").fetchone()
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            remedy = (
                "choose a local file or Redis with --store"
                if unshared(error)
                else "repair or move that file, or choose another with --store, or --store memory"
            )
            raise ConfigurationError(
                f"The conversations cannot be kept in {self.path} ({reason(error)}); {remedy}."
            ) from error

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def concerns(self) -> Sequence[str]:
        if not self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return ()
        return (
            f"Other users of this machine can read or change the conversations in {self.path}; "
            f"remove that permission: chmod go-rwx {self.path}*",
        )

    def __len__(self) -> int:
        with self._transaction() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM conversations WHERE touched >= ?", [self._oldest]
            ).fetchone()
        return int(count)

    def __contains__(self, conversation_id: str) -> bool:
        with self._transaction() as connection:
            return self._find(connection, conversation_id) is not None

    def read(self, conversation_id: str, page: Page = WHOLE) -> Conversation:
        with self._transaction() as connection:
            entry = self._find(connection, conversation_id)
            if entry is None:
                raise UnknownConversation
            conversation, version = entry
            (count,) = connection.execute(
                "SELECT count(*) FROM exchanges WHERE conversation = ?", [conversation]
            ).fetchone()
            end = page.end(count)
            latest_first = (
                f"SELECT {COLUMNS} FROM exchanges WHERE conversation = ? ORDER BY number DESC LIMIT -1 OFFSET ?"
            )
            with closing(connection.execute(latest_first, [conversation, count - end])) as rows:
                exchanges = page.take(Exchange(*row) for row in rows)
        return Conversation(exchanges, version, end - len(exchanges))

    def find(self, conversation_id: str, key: str) -> Exchange | None:
        with self._transaction() as connection:
            entry = self._find(connection, conversation_id)
            row = (
                entry
                and connection.execute(
                    f"SELECT {COLUMNS} FROM exchanges WHERE conversation = ?1 "
                    "AND (key = ?2 OR instr(' ' || replaced || ' ', ' ' || ?2 || ' '))",
                    [entry[0], key],
                ).fetchone()
            )
        return Exchange(*row) if row else None

    def append(self, conversation_id: str, exchange: Exchange, *, version: int, replace: bool = False) -> None:
        with self._transaction("IMMEDIATE") as connection:
            self._forget(connection, "touched < ?", [self._oldest])
            entry = self._find(connection, conversation_id)
            if entry is None and version:
                raise UnknownConversation
            number, current = entry or (None, 0)
            if current != version:
                raise ConversationChanged
            if number is None:
                # An expired one of that id, beyond those that were forgotten just now.
                self._forget(connection, "id = ?", [conversation_id])
                number = connection.execute(
                    "INSERT INTO conversations (id, version, touched) VALUES (?, 0, ?)",
                    [conversation_id, self._clock()],
                ).lastrowid
                self._make_room(connection)
            if replace:
                connection.execute("DELETE FROM exchanges WHERE conversation = ? AND number = ?", [number, version])
            connection.execute(
                f"INSERT INTO exchanges (conversation, {COLUMNS}) VALUES (?{', ?' * len(fields(Exchange))})",
                [number, *astuple(dataclasses.replace(exchange, number=version + 1))],
            )
            # Replaced ones leave gaps between the numbers.
            connection.execute(
                "DELETE FROM exchanges WHERE conversation = ?1 AND number <= "
                "(SELECT number FROM exchanges WHERE conversation = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                [number, KEPT_EXCHANGES],
            )
            connection.execute(
                "UPDATE conversations SET version = ?, touched = ? WHERE number = ?",
                [version + 1, self._clock(), number],
            )

    def delete(self, conversation_id: str) -> None:
        with self._transaction("IMMEDIATE") as connection:
            if self._find(connection, conversation_id) is None:
                raise UnknownConversation
            self._forget(connection, "id = ?", [conversation_id])

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    @property
    def _oldest(self) -> float:
        return self._clock() - self._ttl_s

    def _find(self, connection: sqlite3.Connection, conversation_id: str) -> tuple[int, int] | None:
        """Number and version of a conversation."""
        row: tuple[int, int] | None = connection.execute(
            "SELECT number, version FROM conversations WHERE id = ? AND touched >= ?", [conversation_id, self._oldest]
        ).fetchone()
        return row

    def _make_room(self, connection: sqlite3.Connection) -> None:
        (count,) = connection.execute("SELECT conversations FROM store").fetchone()
        if count > self._capacity:
            self._forget(connection, "true", [], max_count=min(count - self._capacity, MAX_FORGOTTEN))

    def _forget(
        self, connection: sqlite3.Connection, condition: str, values: list[float | str], max_count: int = MAX_FORGOTTEN
    ) -> None:
        connection.execute(
            "DELETE FROM conversations WHERE number IN "
            f"(SELECT number FROM conversations WHERE {condition} ORDER BY touched, number LIMIT ?)",
            [*values, max_count],
        )

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """The file, for one thread at a time; what is done there is done whole or not at all."""
        with self._lock:
            try:
                connection = self._connected()
                connection.execute(f"BEGIN {kind}")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                logger.error("the conversations in %s cannot be used: %s", self.path, error)
                raise StoreUnavailable(
                    f"Conversations cannot be read or stored right now ({reason(error)}); try again in a moment."
                ) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None or self._file != identity(self.path):
            self._abandon()
            self._connection = open_file(self.path)
            self._file = identity(self.path)
        return self._connection

    def _abandon(self) -> None:
        """Close a file that is no longer at its path, and leave nothing there that would be read into another one."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
