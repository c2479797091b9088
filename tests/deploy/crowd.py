"""`python -m tests.deploy.crowd HOST:PORT... --model FOLDER`: clients that talk until the standard input ends.

Each sends a message with its key until it is answered, and checks the reply against the whole history. In the end it
prints what befell them.

A process of its own, since it runs within the network of the machines that it talks to.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers import AutoTokenizer

from service.chat.prompt import PromptFormat
from tests.service import echo
from tests.service.soak import EXCHANGES_BEFORE_NEXT, PAUSE_S, Refused, Visitor

CONNECT_S, REPLY_S = 3.0, 30.0
LAST_WORDS_S = 60.0
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


@dataclass(frozen=True)
class Try:
    """One message sent once.

    Attributes:
        client: who sent it.
        host: to whom.
        began: seconds of the machine's clock.
        ended: likewise.
        error: why it was not answered; empty if it was.
    """

    client: int
    host: str
    began: float
    ended: float
    error: str = ""


@dataclass
class Crowd:
    """What befell the clients.

    Attributes:
        tries: in the order of their ends.
        acknowledged: exchanges.
        mistakes: what was lost, doubled or mixed.
    """

    tries: list[Try] = field(default_factory=list)
    acknowledged: int = 0
    mistakes: list[str] = field(default_factory=list)

    def json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Crowd:
        content = json.loads(text)
        return cls([Try(**one) for one in content["tries"]], content["acknowledged"], content["mistakes"])

    def failed(self, since: float) -> list[Try]:
        """Tries in vain that were begun after a moment."""
        return [one for one in self.tries if one.error and one.began > since]

    def served_again(self, since: float) -> float:
        """Seconds from a moment until each client has had a reply to something that it sent after it."""
        first: dict[int, float] = {}
        for one in self.tries:
            if not one.error and one.began > since:
                first.setdefault(one.client, one.ended - since)
        clients = {one.client for one in self.tries}
        return max(first.values()) if set(first) == clients else float("inf")


class _Connection(http.client.HTTPConnection):
    """One that notices when the other side is gone without a word."""

    def connect(self) -> None:
        self.timeout = CONNECT_S
        super().connect()
        self.sock.settimeout(REPLY_S)
        for level, name, value in KEEPALIVE:
            self.sock.setsockopt(level, name, value)


def talk(hosts: Sequence[str], clients: int, prompt_format: PromptFormat, ended: threading.Event) -> Crowd:
    """Talk to the hosts in turn until the event comes.

    Args:
        hosts: `HOST:PORT` of each.
        clients: conversations at a time.
        prompt_format: of their model.
        ended: when it is set, what is pending is still repeated until it is answered.
    """
    crowd = Crowd()
    # Nobody has said it before, so that every reply is computed.
    crowd_id = uuid.uuid4().hex[:8]
    visits: list[list[Visitor]] = [[] for _ in range(clients)]

    def attempt(client: int, visitor: Visitor, host: str) -> bool:
        began, error = time.monotonic(), ""
        with closing(_Connection(host)) as connection:
            try:
                visitor.say(connection, prompt_format)
            except Refused as refusal:
                error = str(refusal)
            except (OSError, http.client.HTTPException) as trouble:
                error = f"{type(trouble).__name__} {trouble}"
        crowd.tries.append(Try(client, host, began, time.monotonic(), error[:300]))
        return not error

    def visit(client: int) -> None:
        mine = visits[client]
        turn = client
        end = float("inf")
        while not ended.is_set() or (mine and mine[-1].pending is not None and time.monotonic() < end):
            if ended.is_set() and end == float("inf"):
                end = time.monotonic() + LAST_WORDS_S
            if not mine or len(mine[-1].turns) >= 2 * EXCHANGES_BEFORE_NEXT or mine[-1].mistakes:
                mine.append(Visitor(f"visitor {client} of {len(mine)} in {crowd_id}"))
            if not attempt(client, mine[-1], hosts[turn % len(hosts)]):
                time.sleep(PAUSE_S)
            turn += 1

    threads = [threading.Thread(target=visit, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    visitors = [visitor for mine in visits for visitor in mine]
    with closing(_Connection(hosts[0])) as connection:
        for visitor in visitors:
            visitor.check(connection, prompt_format)
            if visitor.pending is not None:
                visitor.mistakes.append(f"{visitor.name}: {visitor.pending[0]} was never answered")
    crowd.acknowledged = sum(len(visitor.turns) // 2 for visitor in visitors)
    crowd.mistakes = [mistake for visitor in visitors for mistake in visitor.mistakes]
    return crowd


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.crowd", description=__doc__)
    parser.add_argument("hosts", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    prompt_format = PromptFormat(AutoTokenizer.from_pretrained(options.model), window=echo.EchoModel.window)
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    print("begun", flush=True)
    print(talk(options.hosts, options.clients, prompt_format, ended).json(), flush=True)


if __name__ == "__main__":
    main()
