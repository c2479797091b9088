"""What `--check` passes is served, and what is served stores a message; what it refuses would not have started, for the
reason that it gave. A table of stores, settings and folders."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from models import manifest
from models.folder import ModelFolderError
from service.check import Kind, findings
from service.conversations.conversation import Exchange
from service.conversations.sqlite import SQLiteStore
from service.engine.errors import EngineError
from service.errors import ServiceError
from service.http.app import create_app
from service.serving.runtime import Runtime
from service.serving.server import listen
from service.settings import ServiceConfig, parse
from tests.redis_server import RedisServer

KEY = "a-key-of-the-table-0123456789"

Case = Callable[["Place"], dict[str, str]]


class Place:
    """Where a case is set up.

    Attributes:
        folder: an empty one.
        export: a good export; cases copy it.
        redis: port of a Redis server.
    """

    def __init__(self, folder: Path, export: Path, redis: int) -> None:
        self.folder, self.export, self.redis = folder, export, redis

    def copy(self) -> Path:
        return Path(shutil.copytree(self.export, self.folder / "copy"))

    def file(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def redis_user(self, *rules: str) -> str:
        with Redis(port=self.redis) as client:
            client.execute_command("ACL", "SETUSER", "bot", "reset", "on", ">secret", *rules)
        return f"redis://bot:secret@127.0.0.1:{self.redis}/0"


def linked_files(place: Place) -> str:
    """As the Hub's cache has them: a folder of links into another one."""
    folder = place.folder / "snapshot"
    folder.mkdir()
    for path in place.copy().iterdir():
        (folder / path.name).symlink_to(path)
    return str(folder)


def linked_folder(place: Place) -> str:
    (place.folder / "link").symlink_to(place.copy())
    return str(place.folder / "link")


def changed(place: Place, name: str, content: bytes | None) -> str:
    """A copy in which one file is another one, or gone."""
    path = place.copy() / name
    path.unlink() if content is None else path.write_bytes(content)
    return str(path.parent)


def outdated(place: Place) -> str:
    path = place.copy() / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    return str(path.parent)


def other_database(place: Place) -> str:
    with closing(sqlite3.connect(place.folder / "other.sqlite3")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    return str(place.folder / "other.sqlite3")


def link_to(place: Place, name: str) -> str:
    (place.folder / "link").symlink_to(place.folder / name)
    return str(place.folder / "link")


def unwritable(place: Place) -> str:
    folder = place.copy()
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return str(folder)


def pipe(place: Place) -> str:
    os.mkfifo(place.folder / "pipe")
    return str(place.folder / "pipe")


def stored(place: Place) -> Path:
    """A store with some conversations in it, closed."""
    path = place.folder / "c.sqlite3"
    store = SQLiteStore(path, capacity=1000, ttl_s=3600)
    for number in range(200):
        store.append(f"id {number}", Exchange("message" * 50, "reply" * 50), version=0)
    store.close()
    return path


def damaged(place: Place) -> str:
    path = stored(place)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    return str(path)


def without_tables(place: Place) -> str:
    path = stored(place)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE exchanges; DROP TABLE conversations; DROP TABLE store;")
    return str(path)


def later(place: Place) -> str:
    path = stored(place)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return str(path)


def other_type(place: Place) -> str:
    with Redis(port=place.redis, db=7) as client:
        client.set("chatbot:touched", "a text")
    return f"redis://127.0.0.1:{place.redis}/7"


def with_manifest(place: Place, **changes: object) -> str:
    path = place.copy() / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return str(path.parent)


def leaving(place: Place) -> str:
    return with_manifest(place, files={"../../etc/hostname": {"size": 1, "sha256": "0" * 64}})


def unlisted(place: Place) -> str:
    return with_manifest(place, files={})


def with_labels(place: Place) -> str:
    """A copy whose configuration names more labels than transformers could list, exported like that."""
    folder = place.copy()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_labels": 10**12}))
    replace(manifest.read(folder), files=manifest.record_files(folder)).write(folder)
    return str(folder)


GOOD: dict[str, Case] = {
    "memory": lambda place: {"CHATBOT_STORE": "memory"},
    "a file in folders that are not there yet": lambda place: {"CHATBOT_STORE": f"{place.folder}/a/b/c.sqlite3"},
    "an empty file": lambda place: {"CHATBOT_STORE": place.file("empty", b"")},
    "a name with a space and quotes": lambda place: {"CHATBOT_STORE": f'{place.folder}/the "old" one'},
    "a path below home": lambda place: {"CHATBOT_STORE": "~/c.sqlite3", "HOME": str(place.folder)},
    "Redis": lambda place: {"CHATBOT_STORE": f"redis://127.0.0.1:{place.redis}/1"},
    "Redis with options": lambda place: {"CHATBOT_STORE": f"redis://127.0.0.1:{place.redis}?db=2&socket_timeout=5"},
    "a user of Redis with all rights on our keys": lambda place: {
        "CHATBOT_STORE": place.redis_user("~chatbot:*", "+@all")
    },
    "a linked folder": lambda place: {"CHATBOT_MODEL": linked_folder(place)},
    "linked files": lambda place: {"CHATBOT_MODEL": linked_files(place)},
    "one conversation for all": lambda place: {"CHATBOT_SHARED_HISTORY": "on"},
    "one conversation at a time": lambda place: {"CHATBOT_CONVERSATIONS": "1"},
    "more threads than cores": lambda place: {"CHATBOT_THREADS": "64"},
    "keys in a file": lambda place: {"CHATBOT_API_KEYS_FILE": place.file("keys", f"# ours\r\n{KEY}\r\n".encode())},
    "all addresses of the other family": lambda place: {"CHATBOT_HOST": "::1"},
    "the smallest limits": lambda place: {"CHATBOT_QUEUE": "1", "CHATBOT_MAX_BODY": "256", "CHATBOT_MAX_PROMPT": "5"},
    "a relative path": lambda place: {"CHATBOT_STORE": os.path.relpath(place.folder / "c.sqlite3")},
    "a path with a dot and a dotdot": lambda place: {"CHATBOT_STORE": f"{place.folder}/./x/../c.sqlite3"},
    "a path that is a link to a file to be": lambda place: {"CHATBOT_STORE": link_to(place, "later.sqlite3")},
    "a name that looks like an address": lambda place: {"CHATBOT_STORE": f"{place.folder}/http:localhost?x=%20#"},
    "a name in many bytes": lambda place: {"CHATBOT_STORE": f"{place.folder}/{'ü' * 120}"},
    "Redis by a name in capitals": lambda place: {"CHATBOT_STORE": f"redis://LOCALHOST:{place.redis}/3"},
    "a folder with a slash at its end": lambda place: {"CHATBOT_MODEL": f"{place.export}/"},
    "a relative folder": lambda place: {"CHATBOT_MODEL": os.path.relpath(place.copy())},
    "a folder with files of the system beside": lambda place: {"CHATBOT_MODEL": changed(place, ".DS_Store", b"x")},
    "a folder with a name in spaces": lambda place: {
        "CHATBOT_MODEL": str(place.copy().rename(place.folder / "a  model"))
    },
    "a folder that cannot be written": lambda place: {"CHATBOT_MODEL": unwritable(place)},
    "two keys alike": lambda place: {"CHATBOT_API_KEYS": f"{KEY},{KEY}"},
    "more rows than a processor likes": lambda place: {"CHATBOT_ROWS": "500"},
    "fewer rows than a reply has": lambda place: {"CHATBOT_ROWS": "1"},
    "words that are in every reply": lambda place: {
        "CHATBOT_NEVER_SAY": place.file("words", "\n".join("abcdefghijklmnopqrstuvwxyz").encode())
    },
    "links of Kubernetes": lambda place: {"CHATBOT_METRICS_PORT": "tcp://10.0.0.1:1", "CHATBOT_SERVICE_PORT": "1"},
}

WRONG: dict[str, Case] = {
    "a text for a store": lambda place: {"CHATBOT_STORE": place.file("text", b"conversations\n" * 100)},
    "a database of another program": lambda place: {"CHATBOT_STORE": other_database(place)},
    "a folder for a store": lambda place: {"CHATBOT_STORE": str(place.folder)},
    "a file for a folder": lambda place: {"CHATBOT_STORE": place.file("file", b"") + "/c.sqlite3"},
    "a folder where nothing can be made": lambda place: {"CHATBOT_STORE": "/proc/nowhere/c.sqlite3"},
    "no Redis": lambda place: {"CHATBOT_STORE": "redis://127.0.0.1:1/0"},
    "Redis with an option that there is not": lambda place: {"CHATBOT_STORE": f"redis://127.0.0.1:{place.redis}?foo=1"},
    "Redis with a database that it has not": lambda place: {"CHATBOT_STORE": f"redis://127.0.0.1:{place.redis}/99"},
    "a user of Redis without scripts": lambda place: {
        "CHATBOT_STORE": place.redis_user("~chatbot:*", "+@all", "-@scripting")
    },
    "a user of Redis with other keys": lambda place: {"CHATBOT_STORE": place.redis_user("~other:*", "+@all")},
    "a user of Redis who only reads": lambda place: {"CHATBOT_STORE": place.redis_user("%R~chatbot:*", "+@all")},
    "a link to itself for a store": lambda place: {"CHATBOT_STORE": link_to(place, "link")},
    "a pipe for a store": lambda place: {"CHATBOT_STORE": pipe(place)},
    "a name that is too long for a file": lambda place: {"CHATBOT_STORE": f"{place.folder}/{'a' * 300}"},
    "a store in the middle of which is rubbish": lambda place: {"CHATBOT_STORE": damaged(place)},
    "a store without its tables": lambda place: {"CHATBOT_STORE": without_tables(place)},
    "a store of a later release": lambda place: {"CHATBOT_STORE": later(place)},
    "a server that is not Redis": lambda place: {"CHATBOT_STORE": f"rediss://127.0.0.1:{place.redis}/0"},
    "Redis with a wrong password": lambda place: {
        "CHATBOT_STORE": place.redis_user("~chatbot:*", "+@all").replace("secret", "wrong")
    },
    "keys of another type in Redis": lambda place: {"CHATBOT_STORE": other_type(place)},
    "an export cut off": lambda place: {
        "CHATBOT_MODEL": changed(place, "decoder_step.onnx", (place.export / "decoder_step.onnx").read_bytes()[:-10])
    },
    "a manifest that leaves the folder": lambda place: {"CHATBOT_MODEL": leaving(place)},
    "an export with more labels than can be": lambda place: {"CHATBOT_MODEL": with_labels(place)},
    "a manifest without files": lambda place: {"CHATBOT_MODEL": unlisted(place)},
    "a folder that is a link to nothing": lambda place: {"CHATBOT_MODEL": link_to(place, "nothing")},
    "a folder for keys": lambda place: {"CHATBOT_API_KEYS_FILE": str(place.folder)},
    "keys that are comments": lambda place: {"CHATBOT_API_KEYS_FILE": place.file("keys", b"# one\n\n#two\n")},
    "keys in UTF-16": lambda place: {"CHATBOT_API_KEYS_FILE": place.file("keys", KEY.encode("utf-16-le"))},
    "a folder for words": lambda place: {"CHATBOT_NEVER_SAY": str(place.folder)},
    "words in Latin-1": lambda place: {"CHATBOT_NEVER_SAY": place.file("words", b"caf\xe9\n")},
    "no words": lambda place: {"CHATBOT_NEVER_SAY": place.file("words", b"\n\n")},
    "a host that is none": lambda place: {"CHATBOT_HOST": "no such host"},
    "no folder": lambda place: {"CHATBOT_MODEL": f"{place.folder}/nothing/here"},
    "a word": lambda place: {"CHATBOT_MODEL": "blenderbot"},
    "no export": lambda place: {"CHATBOT_MODEL": "models/demo"},
    "an export of another release": lambda place: {"CHATBOT_MODEL": outdated(place)},
    "an export without weights": lambda place: {"CHATBOT_MODEL": changed(place, "weights.bin", None)},
    "an export with another file": lambda place: {"CHATBOT_MODEL": changed(place, "config.json", b"{}")},
    "a manifest that is none": lambda place: {"CHATBOT_MODEL": changed(place, "manifest.json", b"[]")},
    "no file of keys": lambda place: {"CHATBOT_API_KEYS_FILE": f"{place.folder}/none"},
    "keys with a byte order mark": lambda place: {
        "CHATBOT_API_KEYS_FILE": place.file("keys", b"\xef\xbb\xbf" + KEY.encode())
    },
    "keys in quotes": lambda place: {"CHATBOT_API_KEYS_FILE": place.file("keys", f'"{KEY}"'.encode())},
    "an address of another machine": lambda place: {"CHATBOT_HOST": "192.0.2.1"},
}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, short_export: Path, redis: RedisServer) -> Place:
    return Place(tmp_path, short_export, redis.port)


def read(case: Case, place: Place, monkeypatch: pytest.MonkeyPatch) -> ServiceConfig:
    """The settings of a case; those that it does not name are good ones."""
    base = {"CHATBOT_PORT": "0", "CHATBOT_MODEL": str(place.export), "CHATBOT_STORE": f"{place.folder}/base.sqlite3"}
    environment = base | case(place)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return parse([], environment)


def serve(config: ServiceConfig) -> tuple[list[str], list[str]]:
    """Start as the service does, and say something: what was said and answered, and what the store has of it.

    Raises:
        ServiceError: it does not start.
    """
    with listen(config.host, config.port):
        runtime = Runtime(config)
        try:
            client = create_app(runtime).test_client()
            runtime.host.load()
            headers = {"Accept": "application/json", "Authorization": f"Bearer {KEY}"}
            for _ in range(2):
                answer = client.post("/chatbot", data=json.dumps({"prompt": "Hello"}), headers=headers)
                assert answer.status_code == 200, answer.text
            reply = json.loads(answer.text)
            stored = json.loads(client.get(f"/sessions/{reply['session_id']}", headers=headers).text)
            runtime.host.model.chatbot.engine.close()
            return [turn["text"] for turn in stored["turns"]], ["Hello", reply["reply"]]
        finally:
            runtime.store.close()


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_what_is_passed_is_served_and_stores_messages(
    case: Case, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read(case, place, monkeypatch)
    assert [finding.sentence for finding in findings(config) if finding.kind is Kind.PROBLEM] == []
    stored, said = serve(config)
    assert stored[-2:] == said
    assert len(stored) == 4


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_is_refused_would_not_have_started(case: Case, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(case, place, monkeypatch)
    problems = [finding.sentence for finding in findings(config) if finding.kind is Kind.PROBLEM]
    assert len(problems) == 1
    assert "\n" not in problems[0]
    with pytest.raises((ServiceError, EngineError, ModelFolderError)) as refusal:
        serve(config)
    assert str(refusal.value) == problems[0]


def test_a_port_that_is_taken_is_refused_by_both(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        test_what_is_refused_would_not_have_started(lambda _: {"CHATBOT_PORT": port}, place, monkeypatch)
