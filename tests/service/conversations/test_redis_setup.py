"""Redis servers that are set up in other ways: what works with them, and what the start says where nothing would."""

from __future__ import annotations

import gc
import re
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from service.conversations import redis_url
from service.conversations.conversation import turns
from service.conversations.opening import open_store
from service.conversations.redis import RIGHTS, RedisStore, _replaced
from service.conversations.store import Store
from service.errors import ConfigurationError
from tests.redis_server import RedisServer
from tests.service.conversations.conftest import said, say
from tests.service.conversations.relay import Relay
from tests.service.process import ROOT, free_port

PASSWORD = "s3cr3tpw"

StartServer = Callable[..., RedisServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers with the settings given."""
    with ExitStack() as running:

        def make(*settings: str) -> RedisServer:
            folder = tmp_path / f"redis-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return running.enter_context(RedisServer(folder, *settings))

        yield make


def opened(url: str) -> Store:
    return open_store(url, capacity=1000, ttl_s=1000)


def refusal(url: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        opened(url)
    sentence = str(error.value)
    assert sentence.startswith("The conversations cannot be kept in Redis (")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def check_it_serves(url: str) -> None:
    """Use all of a store."""
    store = opened(url)
    if "a" in store:
        store.delete("a")
    say(store, "a", "one")
    say(store, "a", "two")
    assert turns(store.read("a").exchanges)[0::2] == ["one", "two"]
    assert len(store) >= 1
    store.delete("a")
    assert "a" not in store
    store.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}/0", "redis://127.0.0.1:{}", "redis://127.0.0.1:{}/3?protocol=2"])
def test_a_server_without_hello_is_used(start: StartServer, url: str) -> None:
    server = start("--rename-command", "HELLO", "")
    check_it_serves(url.format(server.port))


def test_the_protocol_that_a_url_asks_for_is_spoken(start: StartServer) -> None:
    server = start("--rename-command", "HELLO", "")
    assert "HELLO" in refusal(f"{server.url()}?protocol=3")
    plain = start()
    check_it_serves(f"{plain.url()}?protocol=3")


def test_what_is_tried_at_the_start_leaves_nothing_and_takes_nobodys_place(redis_server: RedisServer) -> None:
    first = RedisStore(redis_server.url(7), capacity=1, ttl_s=1000)
    say(first, "a", "one")
    second = RedisStore(redis_server.url(7), capacity=1, ttl_s=1000)
    assert turns(second.read("a").exchanges)[0] == "one"
    with Redis(port=redis_server.port, db=7) as client:
        assert set(client.keys()) == {b"chatbot:secret", b"chatbot:touched", b"chatbot:turns:a"}
    first.close()
    second.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("guarded")) as server:
        yield server


def grant(server: RedisServer, *rules: str) -> str:
    """A user with these rights and none else; gives the URL of that user."""
    with Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "bot", "reset", "on", f">{PASSWORD}", *rules)
        client.execute_command("SCRIPT", "FLUSH")
    return f"redis://bot:{PASSWORD}@127.0.0.1:{server.port}/0"


def test_the_rights_that_are_asked_for_suffice(guarded: RedisServer) -> None:
    check_it_serves(grant(guarded, "~chatbot:*", *(f"+{right}" for right in RIGHTS)))


@pytest.mark.parametrize("missing", RIGHTS)
def test_each_right_that_is_missing_is_told_at_the_start(guarded: RedisServer, missing: str) -> None:
    sentence = refusal(grant(guarded, "~chatbot:*", *(f"+{right}" for right in RIGHTS if right != missing)))
    assert missing in sentence.partition(")")[0].lower()
    assert f"+{missing}" in sentence.partition(")")[2]
    assert PASSWORD not in sentence


@pytest.mark.parametrize(
    "rules",
    [
        ("~chatbot:*", "+@all", "-@scripting"),
        ("~chatbot:*", "+@all", "-@write"),
        ("~chatbot:*", "+@all", "-@transaction"),
        ("~other:*", "+@all"),
        ("%R~chatbot:*", "+@all"),
        ("~chatbot:secret", "~chatbot:touched", "+@all"),
        (),
    ],
)
def test_rights_that_do_not_suffice_are_told_at_the_start(guarded: RedisServer, rules: tuple[str, ...]) -> None:
    assert "its user needs the keys ~chatbot:* and the commands +get" in refusal(grant(guarded, *rules))


@pytest.mark.parametrize("command", ["EVALSHA", "SCRIPT", "MULTI", "ZADD"])
def test_a_command_that_was_renamed_is_told_at_the_start(start: StartServer, command: str) -> None:
    sentence = refusal(start("--rename-command", command, "").url())
    assert "conversations need the commands get set" in sentence


def test_a_wrong_password_is_told_and_not_shown(start: StartServer) -> None:
    server = start()
    with Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "default", f">{PASSWORD}")
    place = f"127.0.0.1:{server.port}/0"
    for url in (f"redis://:wrong-{PASSWORD}@{place}", f"redis://{place}?password=wrong", f"redis://{place}"):
        sentence = refusal(url)
        assert "put the right user and password into --store" in sentence
        assert PASSWORD not in sentence
    check_it_serves(f"redis://:{PASSWORD}@{place}")
    check_it_serves(f"redis://{place}?username=default&password={PASSWORD}")


@pytest.mark.parametrize("password", ["a#b", "a/b", "a?b", "a[b", "12#b", "12/b", "12?b", "a?b=c", "12?foo=bar"])
def test_a_password_that_is_not_written_as_a_url_takes_it_is_told_and_not_shown(password: str) -> None:
    for user in ("", "bot"):
        sentence = refusal(f"redis://{user}:{password}@127.0.0.1:1/0")
        assert "# / ? [ in a password are written %23 %2F %3F %5B" in sentence
        assert password not in sentence


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://127.0.0.1:6379/0?foo=bar", "the option foo, which redis:// does not take; it takes "),
        (
            "redis://127.0.0.1:6379/0?ssl_cert_reqs=none",
            "the option ssl_cert_reqs, which redis:// does not",
        ),
        ("redis://127.0.0.1:6379/0?decode_responses=no", "the option decode_responses, which"),
        ("unix:///run/redis.sock?socket_keepalive=yes", "the option socket_keepalive, which unix:// does not take"),
        ("rediss://127.0.0.1:6379/0?ssl_cert_reqs=maybe", "the option ssl_cert_reqs of its URL takes none or optional"),
        ("redis://127.0.0.1:6379/0?protocol=4", "the option protocol of its URL takes 2 or 3"),
        ("redis://127.0.0.1:6379/0?db=x", "the option db of its URL has a value"),
        ("redis://127.0.0.1:6379/0?socket_timeout=soon", "the option socket_timeout of its URL has a value"),
        ("redis://127.0.0.1:6379/0?max_connections=-1", "correct --store"),
        ("redis://127.0.0.1:6379/zero", "the database in its URL is not a number"),
        ("redis://127.0.0.1:6379/0/1", "the database in its URL is not a number"),
        ("redis://127.0.0.1:6379/-1", "the database in its URL is not a number"),
        ("redis://127.0.0.1:6379/0?db", "its URL cannot be read"),
        ("redis://127.0.0.1:63790000/0", "its URL cannot be read"),
        ("redis://127.0.0.1:0/0", "its URL cannot be read"),
        ("redis://one:6379,two:6379/0", "its URL cannot be read"),
        ("redis://[::1/0", "its URL cannot be read"),
        ("unix://", "its URL names no socket"),
    ],
)
def test_what_is_wrong_with_a_url_is_told(redis_server: RedisServer, url: str, told: str) -> None:
    assert told in refusal(url.replace("6379/", f"{redis_server.port}/"))


@pytest.mark.parametrize(
    ("scheme", "option"),
    [
        ("redis", "socket_timeout=-1"),
        ("rediss", "ssl_cert_reqs=none"),
        ("rediss", "ssl_ca_certs=/nowhere/ca.pem"),
        ("rediss", "ssl_ciphers=none-such"),
        ("rediss", "ssl_min_version=1"),
    ],
)
def test_a_connection_that_cannot_be_made_is_told(redis_server: RedisServer, scheme: str, option: str) -> None:
    sentence = refusal(f"{scheme}://127.0.0.1:{redis_server.port}/0?{option}")
    assert "--store" in sentence
    with warnings.catch_warnings():
        # The client leaves the socket open whose options were wrong.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


GOOD_OPTIONS = {
    "db": "2",
    "protocol": "3",
    "client_name": "bot",
    "socket_timeout": "0.5",
    "socket_connect_timeout": "0.5",
    "socket_keepalive": "yes",
    "health_check_interval": "30",
    "max_connections": "100",
}


@pytest.mark.parametrize("option", GOOD_OPTIONS)
def test_each_option_that_a_url_takes_works(redis_server: RedisServer, option: str) -> None:
    assert {*GOOD_OPTIONS, "username", "password"} == redis_url.TCP_OPTIONS
    check_it_serves(f"redis://127.0.0.1:{redis_server.port}?{option}={GOOD_OPTIONS[option]}")


def test_a_socket_of_this_machine_works(start: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    start("--unixsocket", str(path))
    options = "&".join(f"{name}={value}" for name, value in GOOD_OPTIONS.items() if name in redis_url.OPTIONS)
    check_it_serves(f"unix://{path}?{options}")


def test_options_of_a_secure_connection_reach_it() -> None:
    known = {f"ssl_{name}" for name in ("ciphers", "min_version", "password", "keyfile", "certfile", "cert_reqs")}
    known |= {"ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path"}
    assert known == redis_url.TLS_OPTIONS - redis_url.TCP_OPTIONS
    minimum = int(ssl.TLSVersion.TLSv1_2)
    sentence = refusal(f"rediss://127.0.0.1:1/0?ssl_cert_reqs=none&ssl_check_hostname=no&ssl_min_version={minimum}")
    assert "Connection refused" in sentence


def make_cluster(start: StartServer, shards: int) -> list[RedisServer]:
    """Servers in cluster mode that share the slots."""
    servers = [start("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(shards)]
    for number, server in enumerate(servers):
        with Redis(port=server.port, decode_responses=True) as client:
            first, last = 16384 * number // shards, 16384 * (number + 1) // shards - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            own = client.execute_command("CONFIG", "GET", "cluster-port")
            own_bus = own["cluster-port"] if isinstance(own, dict) else own[1]
        with Redis(port=servers[0].port) as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, own_bus)
    for server in servers:
        wait_for_slots(server)
    return servers


def wait_for_slots(server: RedisServer) -> None:
    end = time.monotonic() + 20
    with Redis(port=server.port, decode_responses=True) as client:
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_cluster_of_one_shard_keeps_conversations(start: StartServer) -> None:
    (server,) = make_cluster(start, 1)
    check_it_serves(server.url())
    store = opened(server.url())
    say(store, "a", "one")
    with Redis(port=server.port) as client:
        keys = client.keys()
        assert len(keys) == 3
        assert len({client.execute_command("CLUSTER", "KEYSLOT", key) for key in keys}) == 1
        assert all(key.startswith(b"chatbot:") for key in keys)
    store.close()


def test_a_cluster_of_several_shards_is_refused_whichever_is_asked(start: StartServer) -> None:
    for server in make_cluster(start, 3):
        assert "it is a cluster of 3 shards" in refusal(server.url())


@pytest.fixture
def pair(start: StartServer) -> tuple[RedisServer, RedisServer]:
    """Two servers of which the second follows the first."""
    first, second = start(), start()
    follow(second, first)
    return first, second


def follow(server: RedisServer, other: RedisServer) -> None:
    """Make a server the replica of another one, and wait until it has all of it."""
    end = time.monotonic() + 20
    with Redis(port=server.port) as client:
        client.replicaof("127.0.0.1", other.port)
        while client.info("replication").get("master_link_status") != "up":
            assert time.monotonic() < end
            time.sleep(0.05)


def replicated(server: RedisServer) -> None:
    """Wait until the replica of a server has all that was written to it so far."""
    with Redis(port=server.port) as client:
        client.set("mark", "")
        assert client.wait(1, 20_000) == 1


def test_a_replica_is_refused_with_what_to_name_instead(pair: tuple[RedisServer, RedisServer]) -> None:
    assert "this server is a replica: name its primary with --store" in refusal(pair[1].url())


def test_when_another_server_takes_over_messages_are_stored_there_without_a_restart(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    first, second = pair
    with Relay(first.port) as relay:
        store = opened(f"redis://127.0.0.1:{relay.port}/0")
        say(store, "a", "one")
        replicated(first)
        relay.target = second.port
        with Redis(port=second.port) as client:
            client.replicaof("NO", "ONE")
        follow(first, second)
        store.append("a", said("two"), version=1)
        assert turns(store.read("a").exchanges)[0::2] == ["one", "two"]
        store.delete("a")
        store.close()


def test_old_releases_that_are_replicas_are_understood_too() -> None:
    told = "Error running script (call to f_1): @user_script:4: -READONLY You can't write against a read only replica."
    assert _replaced(Exception(told))


def test_the_documentation_lists_the_rights_and_the_options() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").partition("## Redis")[2].partition("## ")[0]
    granted = re.findall(r"(?<= \+)[a-z|]+", text.partition("```text")[2].partition("```")[0])
    assert sorted(granted) == sorted([*RIGHTS, "config|get"])
    in_the_url_itself = {"db", "username", "password"}
    told = text.partition("come options:")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", told)) == redis_url.TLS_OPTIONS - in_the_url_itself
