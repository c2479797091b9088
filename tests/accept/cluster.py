"""A Ray cluster of machines made of namespaces, with Redis and a balancer on others: each loss under load, every reply
proving its history."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.accept import folders
from tests.accept.outcome import Line
from tests.deploy.crowd import Crowd
from tests.deploy.machines import Machine, Network, missing

CLIENTS = 8
BURST, SHARE = 100, 0.6
# Within so many seconds everybody is served again, and after so many nobody is turned away.
AGAIN_S, QUIET_S = 15.0, 5.0
BEFORE_S, AFTER_S = 3.0, 5.0
PARTITION_S, HEAD_AWAY_S = 20.0, 10.0
START_TIMEOUT_S = 120.0
PYTHON = ".venv/bin/python"
PORT, DOOR_PORT = 5000, 8080
JOINED = "is part of the cluster"
REPLICA = "ray::ServeReplica:"
DURABLE = ("--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always", "--save", "")
# All at once, each to be answered; prints the statuses.
MESSAGES = """
import http.client, json, sys, threading, uuid
host, count = sys.argv[1], int(sys.argv[2])
barrier, statuses = threading.Barrier(count), []
def ask():
    connection = http.client.HTTPConnection(host, timeout=60)
    barrier.wait()
    connection.request("POST", "/chatbot", json.dumps({"prompt": uuid.uuid4().hex[:9]}))
    statuses.append(connection.getresponse().status)
threads = [threading.Thread(target=ask) for _ in range(count)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(statuses))
"""


def check() -> list[Line]:
    if why := missing():
        return [Line("a cluster of machines made of namespaces", why, True, skipped=True)]
    model = folders.demo("int8").absolute()
    with TemporaryDirectory() as folder, Network(Path(folder)) as network:
        cluster = Cluster(network, model)
        return [cluster.begin(), cluster.burst(), cluster.update(), cluster.part(), cluster.lose(), cluster.lose_head()]


class Cluster:
    """The machines, and what befalls them."""

    def __init__(self, network: Network, model: Path) -> None:
        self._model = model
        self._store = network.machine("store", 4)
        self._head = network.machine("head", 1, echoing=True)
        self._other = network.machine("other", 2, echoing=True)
        self._door = network.machine("door", 5, echoing=True)
        self._client = network.machine("client", 10, echoing=True)
        self._redis = f"redis://{self._store.address}:6379/0"

    def begin(self) -> Line:
        """Start everything as people do."""
        self._store.start("redis-server", "--bind", self._store.address, *DURABLE)
        started = time.monotonic()
        self._start_head()
        token = self._other.home / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text((self._head.home / ".ray" / "auth_token").read_text())
        self._start_other()
        told = self._deploy()
        configuration = self._door.run(PYTHON, "-m", "deploy.balancer", self._head.address, self._other.address)
        (self._door.app / "haproxy.cfg").write_text(configuration.stdout)
        self._door.start("haproxy", "-f", "haproxy.cfg")
        self._wait(lambda: self._answers(f"{self._door.address}:{DOOR_PORT}/readyz"), "the balancer finds nobody")
        return Line(
            "two machines, a replica on each, and a balancer before them",
            f"serving {time.monotonic() - started:.0f} s after the first command; {told}",
            "2 of 2 replicas run" in told and "in its memory" not in told,
        )

    def burst(self) -> Line:
        """Many messages at one moment."""
        before = self._answered()
        said = self._client.run(PYTHON, "-c", MESSAGES, f"{self._door.address}:{DOOR_PORT}", str(BURST))
        statuses = Counter(json.loads(said.stdout))
        counts = [after - at_first for after, at_first in zip(self._answered(), before, strict=True)]
        return Line(
            f"{BURST} messages at once at the balancer: none refused, spread within 60:40",
            f"statuses {dict(statuses)}, {' : '.join(f'{count:.0f}' for count in counts)}",
            statuses == {200: BURST} and sum(counts) == BURST and max(counts) <= SHARE * BURST,
        )

    def update(self) -> Line:
        """Bring changed settings to it."""
        path = self._head.app / "deploy" / "ray_serve.yaml"
        path.write_text(path.read_text().replace("log-format: json", "log-format: text"))
        before = self._replicas()

        def disturb() -> None:
            assert "2 of 2 replicas run" in self._deploy()
            assert not set(before) & set(self._replicas()), "replicas of before go on"

        return self._under_load("a rolling update", disturb)

    def part(self) -> Line:
        """Take a machine off the network for a while; it comes back by itself."""

        def disturb() -> None:
            before = self._other.said().count(JOINED)
            self._other.unplug()
            time.sleep(PARTITION_S)
            self._other.plug()
            # It was taken for dead, and learns that only now.
            self._wait(lambda: self._other.said().count(JOINED) > before, "the machine does not join again")
            self._wait_serving(self._other)

        return self._under_load(f"a machine off the network for {PARTITION_S:g} s", disturb)

    def lose(self) -> Line:
        """Take a machine's power, and start it again."""

        def disturb() -> None:
            self._other.cut_power()
            time.sleep(AGAIN_S)
            self._other.boot()
            self._start_other()
            self._wait_serving(self._other)

        return self._under_load("a machine without power, then back", disturb)

    def lose_head(self) -> Line:
        """Take the head's power, and start it again; nothing is deployed anew."""

        def disturb() -> None:
            self._head.cut_power()
            time.sleep(HEAD_AWAY_S)
            self._head.boot()
            self._start_head()
            self._wait_serving(self._head)

        return self._under_load(f"the head without power, back after {HEAD_AWAY_S:g} s", disturb)

    def _under_load(self, what: str, disturb: Callable[[], None]) -> Line:
        command = ("-m", "tests.deploy.crowd", f"{self._door.address}:{DOOR_PORT}", "--model", self._model)
        crowd = self._client.talk(PYTHON, *command, "--clients", str(CLIENTS))
        try:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "begun\n"
            time.sleep(BEFORE_S)
            since = time.monotonic()
            disturb()
            seconds = time.monotonic() - since
            time.sleep(AFTER_S)
            found = Crowd.read(crowd.communicate("", timeout=START_TIMEOUT_S)[0])
        finally:
            crowd.kill()
        again, late = found.served_again(since), found.failed(since + QUIET_S)
        first = f", such as: {(found.mistakes or [late[0].error])[0]}" if found.mistakes or late else ""
        return Line(
            f"{what}, under {CLIENTS} clients: nothing lost, mixed or doubled, all served again within {AGAIN_S:g} s, "
            f"nobody turned away later than {QUIET_S:g} s after it",
            f"{found.acknowledged} exchanges, {len(found.mistakes)} mistakes; served again after {again:.1f} s; "
            f"{len(found.failed(0.0))} tries in vain, {len(late)} of them late{first}; over after {seconds:.0f} s",
            not found.mistakes and again <= AGAIN_S and not late and found.acknowledged > CLIENTS,
        )

    def _start_head(self) -> None:
        self._start(self._head, "is the head", "--store", self._redis)

    def _start_other(self) -> None:
        self._start(self._other, JOINED, "--head", self._head.address)

    def _start(self, machine: Machine, sign: str, *arguments: str) -> None:
        before = machine.said().count(sign)
        machine.start(PYTHON, "-m", "deploy.node", *arguments)
        self._wait(lambda: machine.said().count(sign) > before, f"{machine.address} does not join: {machine.said()}")

    def _deploy(self) -> str:
        command = (PYTHON, "-m", "deploy.rollout", "--store", self._redis, "--model", self._model)
        ended = self._head.run(*command, check=False, timeout_s=START_TIMEOUT_S)
        assert ended.returncode == 0, ended.stderr
        return " ".join(re.findall(r"(\d of \d replicas run\.|Serving at .*|WARNING .*)", ended.stderr))

    def _answered(self) -> list[float]:
        """Messages that each machine has answered."""
        found = []
        for machine in (self._head, self._other):
            text = self._client.run("curl", "-s", "-m", "5", f"http://{machine.address}:9400/metrics").stdout
            pattern = r'^chatbot_requests_total\{.*route="/chatbot".*\} ([\d.]+)$'
            found.append(sum(map(float, re.findall(pattern, text, re.MULTILINE))))
        return found

    def _replicas(self) -> list[int]:
        return self._head.pids(REPLICA) + self._other.pids(REPLICA)

    def _wait_serving(self, machine: Machine) -> None:
        """Wait until a machine has a replica, and answers itself."""
        self._wait(
            lambda: bool(machine.pids(REPLICA)) and self._answers(f"{machine.address}:{PORT}/readyz"),
            f"{machine.address} does not serve again: {machine.said()}",
        )

    def _answers(self, address: str) -> bool:
        ended = self._client.run("curl", "-s", "-f", "-m", "2", f"http://{address}", check=False)
        return ended.returncode == 0

    @staticmethod
    def _wait(condition: Callable[[], bool], complaint: str) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, complaint
            time.sleep(0.2)
