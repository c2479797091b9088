"""The SQLite file of conversations: its format, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

APPLICATION_ID = 0x63686174
SCHEMA_VERSION = 3
SCHEMA = (
    "CREATE TABLE store (secret BLOB NOT NULL, conversations INTEGER NOT NULL)",
    """CREATE TABLE conversations (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, touched REAL NOT NULL
    )""",
    "CREATE INDEX conversations_touched ON conversations (touched)",
    """CREATE TABLE exchanges (
        conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE, number INTEGER NOT NULL,
        message TEXT NOT NULL, reply TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, truncated_turns INTEGER NOT NULL,
        truncated_tokens INTEGER NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, replaced TEXT NOT NULL,
        PRIMARY KEY (conversation, number)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER begun AFTER INSERT ON conversations
        BEGIN UPDATE store SET conversations = conversations + 1; END""",
    """CREATE TRIGGER forgotten AFTER DELETE ON conversations
        BEGIN UPDATE store SET conversations = conversations - 1; END""",
    "INSERT INTO store VALUES (randomblob(32), 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
# What makes a file one of the present format, by the format that it has; 0 is a new one.
FROM_2 = (
    "ALTER TABLE exchanges ADD COLUMN request TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE exchanges ADD COLUMN replaced TEXT NOT NULL DEFAULT ''",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
STEPS = {
    0: SCHEMA,
    1: ("ALTER TABLE exchanges ADD COLUMN truncated_tokens INTEGER NOT NULL DEFAULT 0", *FROM_2),
    2: FROM_2,
}
BUSY_TIMEOUT_S = 1.0
# What fails where processes cannot map one file together, or lock it, as with many network file systems.
UNSHARED = frozenset(
    {
        *(sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMLOCK),
        *(sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK),
        *(sqlite3.SQLITE_IOERR_UNLOCK, sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, sqlite3.SQLITE_PROTOCOL),
    }
)


def check_whole(connection: sqlite3.Connection) -> None:
    """Look at every page of a file.

    Raises:
        sqlite3.DatabaseError: one of them is damaged.
    """
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(str(verdict).replace("\n", " "))


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made if it is not there, or brought to the present format.

    Raises:
        sqlite3.Error, OSError: it is no file of conversations, or cannot be used.
    """
    files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]
    made = [new for new in (*files, *path.parents) if not new.exists()]
    if path in made:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException as error:
        connection.close()
        if unshared(error):
            _remove(made)
        raise
    return connection


def _remove(made: Iterable[Path]) -> None:
    """Take away files and empty folders, each before the folder that it is in."""
    for path in made:
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _prepare(connection: sqlite3.Connection) -> None:
    def value(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    if value("schema_version") and value("application_id") != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is a database of another program")
    version = value("user_version")
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it was written by a later release, in format {version}")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been faster.
        for statement in STEPS.get(value("user_version"), ()):
            connection.execute(statement)
        connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Change the journal of a new file, for which SQLite itself does not wait while others do the same."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; None for none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def unshared(error: BaseException) -> bool:
    """Whether a failure is the file system's, which cannot share a file between processes."""
    return getattr(error, "sqlite_errorcode", None) in UNSHARED


def reason(error: Exception) -> str:
    """Why a file cannot be used, as a part of a sentence."""
    if unshared(error):
        return "this file system cannot share it between processes; is it a network folder?"
    return error.strerror or "input/output error" if isinstance(error, OSError) else str(error)
