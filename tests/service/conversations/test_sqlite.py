"""The file of conversations: private, durable, checked when it is opened, and usable again after a fault."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.conversations.conversation import Exchange, turns
from service.conversations.opening import open_store
from service.conversations.sqlite import SQLiteStore
from service.conversations.sqlite_file import SCHEMA_VERSION
from service.errors import ConfigurationError, StoreUnavailable
from tests.service.conversations.conftest import said, say

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.sqlite3"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def opened(path: Path) -> SQLiteStore:
    return SQLiteStore(path, capacity=1000, ttl_s=1000)


def fill(store: SQLiteStore) -> int:
    """Go on with one conversation until the disk is full; returns how many exchanges were kept."""
    for version in range(10_000):
        try:
            store.append("a", said(f"{version} " + "word " * 200), version=version)
        except StoreUnavailable:
            return version
    raise AssertionError("the disk did not fill")


def read_all(store: SQLiteStore) -> None:
    for number in range(50):
        store.read(str(number))


def damage(path: Path) -> None:
    """Overwrite all but the header of a file, which is closed."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def test_only_the_owner_may_read_it(path: Path) -> None:
    previous = os.umask(0)
    try:
        store = opened(path)
        say(store, "a", "one")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert set(modes) == {path.name, f"{path.name}-wal", f"{path.name}-shm"}
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(previous)


def test_it_keeps_conversations_and_its_secret_from_run_to_run(path: Path) -> None:
    store = opened(path)
    say(store, "a", "one", "two")
    store.close()
    again = opened(path)
    assert turns(again.read("a").exchanges) == ["one", "two"]
    assert again.secret == store.secret
    assert len(again.secret) == 32
    again.close()


def test_it_writes_ahead_and_knows_its_format(path: Path) -> None:
    opened(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_what_was_forgotten_is_not_left_in_the_file(path: Path) -> None:
    store = opened(path)
    say(store, "a", "the secret word")
    store.delete("a")
    store.close()
    assert b"the secret word" not in path.read_bytes()


def test_two_services_may_share_it(path: Path) -> None:
    first, second = opened(path), opened(path)
    say(first, "a", "one")
    say(second, "a", "two")
    assert turns(first.read("a").exchanges)[0::2] == ["one", "two"]
    assert first.secret == second.secret
    first.close()
    second.close()


def test_two_processes_may_open_a_new_one_at_once(path: Path) -> None:
    program = (
        "import sys; from service.conversations.sqlite import SQLiteStore; print('up', flush=True); sys.stdin.read(1);"
        "store = SQLiteStore(sys.argv[1], capacity=9, ttl_s=9); print(store.secret.hex())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in range(6)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in started]
    assert len({answer[0] for answer in answers}) == 1, answers


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not a database, and longer than a header of one is" * 4, "not a database"), (b"SQLite format 3\0" * 8, "")],
)
def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, content: bytes, reason: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{reason}.*--store memory"):
        opened(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE store (other)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program"):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_of_a_later_release_is_refused(path: Path) -> None:
    opened(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ConfigurationError, match="later release"):
        opened(path)


@pytest.mark.parametrize(
    ("version", "missing"), [(1, ["truncated_tokens", "request", "replaced"]), (2, ["request", "replaced"])]
)
def test_a_file_of_an_earlier_release_goes_on(path: Path, version: int, missing: list[str]) -> None:
    store = opened(path)
    say(store, "a", "one")
    store.close()
    connection = sqlite3.connect(path)
    for column in missing:
        connection.execute(f"ALTER TABLE exchanges DROP COLUMN {column}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    stores = [opened(path), opened(path)]
    for number, store in enumerate(stores, start=1):
        assert len(store.read("a").exchanges) == number
        store.append("a", Exchange("word", "reply", truncated_tokens=7, request="{}", replaced="k"), version=number)
    found = stores[0].read("a").exchanges
    assert [exchange.truncated_tokens for exchange in found] == [0, 7, 7]
    assert [(exchange.request, exchange.replaced) for exchange in found] == [("", ""), ("{}", "k"), ("{}", "k")]
    assert [exchange.number for exchange in found] == [1, 2, 3]
    for store in stores:
        store.close()


def test_a_damaged_file_is_refused(path: Path) -> None:
    store = opened(path)
    for number in range(50):
        say(store, str(number), "word " * 100)
    store.close()
    damage(path)
    with pytest.raises(ConfigurationError, match=f"cannot be kept in {path}.*repair or move that file"):
        opened(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="--store"):
        opened(path)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--store"):
        opened(tmp_path / "file" / "conversations.sqlite3")


def test_a_file_that_cannot_be_written_is_refused(small_disk: Path) -> None:
    store = opened(small_disk / "conversations.sqlite3")
    say(store, "a", "one")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ConfigurationError, match="--store"):
        opened(small_disk / "conversations.sqlite3")


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    store = opened(small_disk / "conversations.sqlite3")
    kept = fill(store)
    assert kept > 10
    with pytest.raises(StoreUnavailable, match="full"):
        store.append("a", said("word " * 1000), version=kept)
    assert store.read("a").version == kept
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    say(store, "a", "there is room again")
    assert store.read("a").version == kept + 1
    store.close()
    again = opened(small_disk / "conversations.sqlite3")
    assert [exchange.message.split()[0] for exchange in again.read("a").exchanges[:-1]] == [
        str(number) for number in range(kept)
    ]
    again.close()


def test_a_file_damaged_while_in_use_is_said_so_and_a_good_one_in_its_place_is_used(path: Path) -> None:
    store = opened(path)
    for number in range(50):
        say(store, str(number), "word " * 100)
    store.close()
    good = shutil.copy(path, path.parent / "backup")
    store = opened(path)
    os.truncate(path, 6000)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="cannot be read or stored right now"):
            read_all(store)
    Path(good).replace(path)
    say(store, "7", "back again")
    assert store.read("7").version == 2
    store.close()


def test_another_file_put_in_its_place_is_used_as_it_is(path: Path, tmp_path: Path) -> None:
    other = opened(tmp_path / "other.sqlite3")
    for number in range(50):
        say(other, f"old {number}", "word " * (number % 7 * 100 + 1))
    other.close()
    store = opened(path)
    for number in range(60):
        say(store, f"new {number}", "word " * 300)
    assert (path.parent / f"{path.name}-wal").stat().st_size > 0
    (tmp_path / "other.sqlite3").replace(path)
    assert "new 0" not in store
    assert [store.read(f"old {number}").version for number in range(50)] == [1] * 50
    say(store, "old 7", "on and on")
    store.close()
    again = opened(path)
    assert len(again) == 50
    assert again.read("old 7").version == 2
    again.close()


def test_a_file_that_was_taken_away_is_made_anew(path: Path) -> None:
    store = opened(path)
    say(store, "a", "one")
    for file in path.parent.iterdir():
        file.unlink()
    assert "a" not in store
    say(store, "b", "two")
    store.close()
    assert "b" in opened(path)


def test_a_process_killed_in_the_middle_leaves_whole_exchanges(path: Path) -> None:
    program = (
        "import itertools, sys; from service.conversations.conversation import Exchange;"
        "from service.conversations.sqlite import SQLiteStore;"
        "store = SQLiteStore(sys.argv[1], capacity=9, ttl_s=9e9)\n"
        "for n in itertools.count():\n"
        "    store.append('a', Exchange(f'{n} ' + 'x' * 5000, f'{n} ' + 'y' * 5000), version=n)\n"
        "    print(n, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    store = opened(path)
    exchanges = store.read("a").exchanges
    assert len(exchanges) >= len(acknowledged)
    for number, exchange in enumerate(exchanges):
        assert (exchange.message, exchange.reply) == (f"{number} " + "x" * 5000, f"{number} " + "y" * 5000)
    store.close()


def test_the_default_is_a_file_in_the_data_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = open_store("file", capacity=9, ttl_s=9)
    assert isinstance(store, SQLiteStore)
    assert store.path == tmp_path / "blenderbot-onnx-server" / "conversations.sqlite3"
    assert store.path.exists()
    store.close()


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o644, True), (0o640, True), (0o602, True)])
def test_a_file_that_others_can_read_or_change_is_told(tmp_path: Path, mode: int, told: bool) -> None:
    path = tmp_path / "conversations"
    SQLiteStore(path, capacity=10, ttl_s=60).close()
    path.chmod(mode)
    store = SQLiteStore(path, capacity=10, ttl_s=60)
    assert [f"chmod go-rwx {path}" in concern for concern in store.concerns] == [True] * told
    store.close()
