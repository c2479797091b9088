"""Machines made of namespaces: each with its own network, processes, memory disk, home folder and checkout.

Root and `ip netns` are needed; `missing` says what is not there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.service.process import ROOT

SUBNET = "10.77.0."
START_TIMEOUT_S = 10.0
PROGRAMS = ("ip", "unshare", "nsenter", "redis-server", "haproxy")
# What takes the place of the engine: replies tell what was read, and take 0.4 s.
ECHOING = """
import os
os.environ["USE_TORCH"] = "0"
from tests.service import echo, fakes
fakes.STEP_S = 0.03
def load(folder, *, threads=0, kernels="auto"):
    return echo.EchoModel()
"""
# The first process of a machine, with which all of it ends. The shell buries orphans.
FIRST = """
mount -t tmpfs -o size=2g tmpfs /dev/shm
mount -t tmpfs -o size=1g tmpfs /tmp/ray
while :; do sleep 3600 & wait $!; done
"""


def missing() -> str:
    """Why there can be no such machines here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"there is no {absent[0]} here"
    probe = "cl-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"`ip netns add` says: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return ""


def checkout(folder: Path, *, echoing: bool) -> None:
    """Copy the working tree as git knows it, with this one's virtual environment."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    if echoing:
        (folder / "service" / "engine" / "chat_model.py").write_text(ECHOING, encoding="utf-8")


class Network:
    """A switch, and the machines at it; all are gone when the `with` block ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machines: list[Machine] = []
        self.switch = f"cl{os.getpid()}-switch"

    def __enter__(self) -> Self:
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        Path("/tmp/ray").mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self._machines:
            machine.destroy()
        subprocess.run(["ip", "netns", "del", self.switch], check=False)

    def machine(self, name: str, number: int, *, echoing: bool = False) -> Machine:
        """One more, at 10.77.0.`number`, with a checkout of its own if it is to serve."""
        machine = Machine(self.switch, name, SUBNET + str(number), self._folder / name)
        if echoing:
            checkout(machine.app, echoing=True)
        self._machines.append(machine)
        machine.boot()
        return machine


class Machine:
    """One machine.

    Attributes:
        address: in the network.
        home: home folder; it is there again after a crash, as is the checkout.
        app: its checkout.
    """

    def __init__(self, switch: str, name: str, address: str, folder: Path) -> None:
        self._switch = switch
        self._namespace = f"cl{os.getpid()}-{name}"
        self._name = name
        self._first = 0
        self._launcher: subprocess.Popen[bytes] | None = None
        self.address = address
        self.home = folder / "home"
        self.app = folder / "app"
        self.log = folder / "log"
        for path in (self.home, self.app):
            path.mkdir(parents=True, exist_ok=True)

    def boot(self) -> None:
        """Come up, connected, with no process running."""
        ip("netns", "add", self._namespace)
        ip("-n", self._namespace, "link", "set", "lo", "up")
        inside, outside = f"v{self._name}", f"p{self._name}"
        ip(
            "link",
            "add",
            inside,
            "netns",
            self._namespace,
            "type",
            "veth",
            "peer",
            "name",
            outside,
            "netns",
            self._switch,
        )
        ip("-n", self._switch, "link", "set", outside, "master", "br0")
        ip("-n", self._switch, "link", "set", outside, "up")
        ip("-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", inside)
        ip("-n", self._namespace, "link", "set", inside, "up")
        enter = ["ip", "netns", "exec", self._namespace, "unshare", "--mount", "--pid", "--uts", "--fork"]
        self._launcher = subprocess.Popen(
            [*enter, "--mount-proc", "--kill-child", "bash", "-c", FIRST],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_TIMEOUT_S
        while not (children := _children(self._launcher.pid)):
            assert time.monotonic() < end, f"machine {self._name} does not start"
            time.sleep(0.02)
        self._first = children[0]
        while self.run("mountpoint", "-q", "/tmp/ray", check=False).returncode:
            assert time.monotonic() < end, f"machine {self._name} has no memory disk"
            time.sleep(0.02)
        self.run("hostname", self._name)

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program in the checkout; what it says is appended to `log`."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._inside(command), cwd=self.app, env=self._environment(environment), stdout=log, stderr=log
            )

    def talk(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program in the checkout, and hold its standard input and output."""
        return subprocess.Popen(
            self._inside(command),
            cwd=self.app,
            env=self._environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """What the programs that were started have said."""
        return self.log.read_text() if self.log.exists() else ""

    @staticmethod
    def signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Send a signal to a program that was started; what entered the machine for it would not pass it on."""
        for pid in _children(process.pid):
            os.kill(pid, number)

    def run(
        self, *command: str | Path, check: bool = True, timeout_s: float = 60.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the checkout to its end."""
        return subprocess.run(
            self._inside(command),
            cwd=self.app,
            env=self._environment(environment),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=check,
        )

    def unplug(self) -> None:
        """Take it off the network; its processes go on."""
        ip("-n", self._switch, "link", "set", f"p{self._name}", "down")

    def plug(self) -> None:
        ip("-n", self._switch, "link", "set", f"p{self._name}", "up")

    def cut_power(self) -> None:
        """End it without a word to anybody."""
        self.unplug()
        self.destroy()

    def destroy(self) -> None:
        """End all its processes at once, and take it apart."""
        if self._launcher is None:
            return
        os.kill(self._first, signal.SIGKILL)
        self._launcher.wait()
        self._launcher = None
        subprocess.run(["ip", "-n", self._switch, "link", "del", f"p{self._name}"], check=False)
        subprocess.run(["ip", "netns", "del", self._namespace], check=False)

    def pids(self, title: str) -> list[int]:
        """Processes, by numbers of the whole system, whose command line begins so."""
        listed = subprocess.run(
            ["pgrep", "--ns", str(self._first), "--nslist", "pid", "-f", f"^{title}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(word) for word in listed.stdout.split()]

    def _inside(self, command: Sequence[str | Path]) -> list[str]:
        enter = ["nsenter", "--target", str(self._first), "--mount", "--pid", "--net", "--uts"]
        return [*enter, f"--wd={self.app}", *map(str, command)]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.home), "HF_HUB_OFFLINE": "1", **more}


def ip(*arguments: str) -> None:
    """Run `ip`, which must succeed."""
    subprocess.run(["ip", *arguments], check=True)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []
