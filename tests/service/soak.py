"""Many conversations with a service that echoes what its model read, checked turn by turn, also across kill -9."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.chat.prompt import PromptFormat
from tests.service import echo
from tests.service.process import ServiceProcess

TIMEOUT_S = 30.0
EXCHANGES_BEFORE_NEXT = 12
# Between two tries of a message that was refused.
PAUSE_S = 0.1


class Refused(Exception):
    """The service answered with an error."""


@dataclass
class Visitor:
    """One conversation, and what its visitor was told.

    Attributes:
        name: stands in each message, so that no two visitors say the same.
        session: id of the conversation; empty until the first reply.
        turns: messages and replies that were acknowledged.
        pending: message and key that were sent and got no answer.
        refusals: tries of `insist` in vain.
        mistakes: what was not as it should be.
    """

    name: str
    session: str = ""
    turns: list[str] = field(default_factory=list)
    pending: tuple[str, str] | None = None
    refusals: int = 0
    mistakes: list[str] = field(default_factory=list)

    def say(self, connection: http.client.HTTPConnection, prompt_format: PromptFormat) -> None:
        """Send the next message, or the pending one once more, and check that the reply fits the whole history.

        Raises:
            OSError, HTTPException: the service went away; the message is pending then.
            Refused: it answered with an error; the message is pending too.
        """
        message, key = self.pending or (f"{self.name} says {len(self.turns) // 2}", str(uuid.uuid4()))
        self.pending = (message, key)
        headers = {"Idempotency-Key": key, "Accept": "application/json"}
        if self.session:
            headers["X-Session-Id"] = self.session
        status, content = _ask(connection, "POST", "/chatbot", {"prompt": message}, headers)
        if status != 200:
            raise Refused(f"{message}: {status} {content}")
        self.pending = None
        self.session = content["session_id"]
        expected = reply_to([*self.turns, message], prompt_format)
        if content["reply"] != expected:
            self.mistakes.append(f"{message}: {content['reply']} instead of {expected}")
        self.turns += [message, content["reply"]]

    def insist(self, port: int, prompt_format: PromptFormat, within_s: float) -> None:
        """Say the next message, again and again with the same key while it is refused."""
        end = time.monotonic() + within_s
        while True:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
                try:
                    self.say(connection, prompt_format)
                    return
                except (OSError, http.client.HTTPException, Refused) as error:
                    self.refusals += 1
                    if time.monotonic() > end:
                        self.mistakes.append(f"no reply within {within_s:g} s: {error}")
                        return
            time.sleep(PAUSE_S)

    def interject(self, port: int, within_s: float) -> tuple[str, str]:
        """Say something in a conversation to which others say something too; returns it and its reply."""
        message, key = f"{self.name} says {len(self.turns)}", str(uuid.uuid4())
        headers = {"Idempotency-Key": key, "Accept": "application/json", "X-Session-Id": self.session}
        end = time.monotonic() + within_s
        while True:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
                status, content = _ask(connection, "POST", "/chatbot", {"prompt": message}, headers)
            if status == 200:
                self.turns.append(message)
                return message, content["reply"]
            if status not in {409, 503} or time.monotonic() > end:
                self.mistakes.append(f"{message}: {status} {content}")
                self.turns.append(message)
                return message, ""
            time.sleep(PAUSE_S)

    def check(self, connection: http.client.HTTPConnection, prompt_format: PromptFormat) -> None:
        """Compare what is stored with what was acknowledged; beyond it the pending message may be there, whole."""
        if not self.session:
            return
        status, content = _ask(connection, "GET", f"/sessions/{self.session}")
        if status != 200:
            self.mistakes.append(f"{self.name}: {status} {content}")
            return
        stored = [turn["text"] for turn in content["turns"]]
        allowed = [self.turns]
        if self.pending is not None:
            allowed.append([*self.turns, self.pending[0], reply_to([*self.turns, self.pending[0]], prompt_format)])
        if stored not in allowed:
            self.mistakes.append(f"{self.name}: {len(stored)} turns stored, {len(self.turns)} acknowledged: {stored}")


def reply_to(turns: Sequence[str], prompt_format: PromptFormat) -> str:
    """What the echoing service says to a history."""
    return prompt_format.decode(echo.digest(prompt_format.encode(turns).ids))


def converse(port: int, prompt_format: PromptFormat, *, conversations: int, clients: int, exchanges: int) -> list[str]:
    """Hold many conversations at once, each client several of them in turn; returns the mistakes."""

    def visit(client: int) -> list[str]:
        mine = [Visitor(f"visitor {number}") for number in range(client, conversations, clients)]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
            for _ in range(exchanges):
                for visitor in mine:
                    try:
                        visitor.say(connection, prompt_format)
                    except Refused as refusal:
                        visitor.mistakes.append(str(refusal))
            for visitor in mine:
                visitor.check(connection, prompt_format)
        return [mistake for visitor in mine for mistake in visitor.mistakes]

    with ThreadPoolExecutor(clients) as pool:
        return [mistake for found in pool.map(visit, range(clients)) for mistake in found]


@dataclass
class Killed:
    """How the conversations fared.

    Attributes:
        acknowledged: exchanges.
        interrupted: messages that were under way when the service was killed, or tries in vain.
        mistakes: what was lost, doubled, mixed or half stored.
    """

    acknowledged: int = 0
    interrupted: int = 0
    mistakes: list[str] = field(default_factory=list)


def kill_repeatedly(
    folder: Path, store: str, prompt_format: PromptFormat, *, kills: int, clients: int = 8, seed: int = 5
) -> Killed:
    """Kill the service with signal 9 at random moments while clients talk to it, and go on with the next one.

    Args:
        folder: a model's; only its tokenizer is used.
        store: as `--store` takes it.
        prompt_format: of the model.
        kills: number of services killed.
        clients: conversations at a time.
        seed: of the moments.
    """
    draw = random.Random(seed)
    outcome = Killed()
    visitors = [Visitor(f"visitor {number}") for number in range(clients)]
    all_visitors = list(visitors)
    for kill in range(kills + 1):
        with ServiceProcess("--model", folder, "--store", store, planted=echo.PLANTED) as service:
            port = service.wait_ready().port
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
                for visitor in all_visitors:
                    visitor.check(connection, prompt_format)
                    if visitor.pending is not None:
                        visitor.insist(port, prompt_format, 0.0)
                        visitor.check(connection, prompt_format)
            if kill == kills:
                break
            for place, visitor in enumerate(visitors):
                if len(visitor.turns) >= 2 * EXCHANGES_BEFORE_NEXT:
                    visitors[place] = Visitor(f"visitor {len(all_visitors)}")
                    all_visitors.append(visitors[place])
            threads = [threading.Thread(target=_talk, args=(port, visitor, prompt_format)) for visitor in visitors]
            for thread in threads:
                thread.start()
            threading.Event().wait(draw.uniform(0.02, 0.5))
            service.signal(signal.SIGKILL)
            service.wait()
            for thread in threads:
                thread.join()
            outcome.interrupted += sum(visitor.pending is not None for visitor in visitors)
    outcome.acknowledged = sum(len(visitor.turns) // 2 for visitor in all_visitors)
    outcome.mistakes = [mistake for visitor in all_visitors for mistake in visitor.mistakes]
    return outcome


def insist_while(
    port: int,
    prompt_format: PromptFormat,
    *,
    clients: int,
    exchanges: int,
    within_s: float,
    disturb: Callable[[], None],
) -> Killed:
    """Clients talk and repeat what was refused or lost, with the same key, while something is disturbed.

    Args:
        port: of the service.
        prompt_format: of its model.
        clients: conversations at a time.
        exchanges: that are acknowledged before the disturbance, and after it, unless there is a mistake.
        within_s: seconds within which each message must have its reply.
        disturb: called once, under load.
    """
    ended = threading.Event()
    visitors: list[Visitor] = []

    def visit(client: int) -> None:
        count = 0
        while not ended.is_set():
            visitor = Visitor(f"visitor {client} of {count}")
            visitors.append(visitor)
            while not ended.is_set() and len(visitor.turns) < 2 * EXCHANGES_BEFORE_NEXT and not visitor.mistakes:
                visitor.insist(port, prompt_format, within_s)
            count += 1

    def acknowledged() -> int:
        return sum(len(visitor.turns) // 2 for visitor in visitors)

    def wait_more() -> None:
        goal = acknowledged() + exchanges
        while acknowledged() < goal and not any(visitor.mistakes for visitor in visitors):
            time.sleep(0.05)

    with ThreadPoolExecutor(clients) as pool:
        visits = [pool.submit(visit, client) for client in range(clients)]
        try:
            wait_more()
            disturb()
            wait_more()
        finally:
            ended.set()
        for each in visits:
            each.result()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        for visitor in visitors:
            visitor.check(connection, prompt_format)
    return Killed(
        acknowledged=acknowledged(),
        interrupted=sum(visitor.refusals for visitor in visitors),
        mistakes=[mistake for visitor in visitors for mistake in visitor.mistakes],
    )


def speak_at_once(port: int, prompt_format: PromptFormat, *, conversations: int, pairs: int) -> list[str]:
    """In each conversation two messages are sent at the same time, again and again; returns the mistakes.

    Whichever was not the first may be refused, and is repeated. In the end each was answered once, and each reply
    fits what stood before it.
    """

    def hold(number: int) -> list[str]:
        opened = Visitor(f"conversation {number}")
        opened.insist(port, prompt_format, TIMEOUT_S)
        speakers = [Visitor(f"speaker {speaker} of {number}", opened.session) for speaker in range(2)]
        told: dict[str, str] = {}
        with ThreadPoolExecutor(len(speakers)) as pool:
            for _ in range(pairs):
                for message, reply in pool.map(lambda speaker: speaker.interject(port, TIMEOUT_S), speakers):
                    told[message] = reply
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
            _, content = _ask(connection, "GET", f"/sessions/{opened.session}")
        stored = [turn["text"] for turn in content["turns"]]
        told[opened.turns[0]] = opened.turns[1]
        mistakes = [*opened.mistakes, *(mistake for speaker in speakers for mistake in speaker.mistakes)]
        if sorted(stored[::2]) != sorted(told):
            mistakes.append(f"{sorted(told)} were answered, and these are stored: {stored[::2]}")
        for place in range(0, len(stored), 2):
            message, reply = stored[place : place + 2]
            expected = reply_to(stored[: place + 1], prompt_format)
            if not reply == expected == told.get(message):
                mistakes.append(f"{message}: {reply} stored, {told.get(message)} told, {expected} expected")
        return mistakes

    with ThreadPoolExecutor(8) as pool:
        return [mistake for found in pool.map(hold, range(conversations)) for mistake in found]


def _talk(port: int, visitor: Visitor, prompt_format: PromptFormat) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
        try:
            while not visitor.mistakes:
                visitor.say(connection, prompt_format)
        except Refused as refusal:
            visitor.mistakes.append(str(refusal))
        except (OSError, http.client.HTTPException):
            return


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, json.dumps(body) if body else None, headers or {})
    response = connection.getresponse()
    content = response.read()
    return response.status, json.loads(content) if content.startswith(b"{") else {"text": content.decode()}
