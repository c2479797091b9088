"""Many visitors at once: the same replies as alone, no visitor lost, and nothing left over."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from service.engine.batch import Batch
from service.engine.chat_model import load
from service.engine.engine import Engine
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts
from tests.service.process import ServiceProcess

PROMPTS, CLIENTS = 200, 16
CROWD, CROWD_S = 64, 120.0
LEAVERS = 200
STEADY_MB = 30.0
PROMPT = "Hello, how are you today?"


@dataclass(frozen=True)
class Answer:
    """Status, Retry-After and body of one answer."""

    status: int
    retry_after: str | None
    body: str


def check() -> list[Line]:
    demo = folders.demo("int8")
    return [*_fairness(), *_equality(demo), *_crowd(demo), *_leavers(demo), *_stopping(demo), *_idle(demo)]


def _fairness() -> Iterator[Line]:
    """Of eight that come together at beam 4, how many steps each waits for its first."""
    model = load(folders.synthetic("int8"))
    model = replace(model, settings=replace(model.settings, num_beams=4))
    steps = 0
    first: dict[int, int] = {}
    plain = Batch.step

    def counted(batch: Batch) -> list[object]:
        nonlocal steps
        steps += 1
        finished = plain(batch)
        for member in batch._members:
            first.setdefault(int(member.sequence.source[0]) - 40, steps)
        return finished  # type: ignore[return-value]

    Batch.step = counted  # type: ignore[method-assign, assignment]
    try:
        engine = Engine(model, queue_size=8, max_rows=40)
        generations = [engine.submit([*range(40 + n, 67 + n), 2], timeout_s=120) for n in range(8)]
        for generation in generations:
            while not generation.done:
                generation.wait(1.0)
        waited = [first[number] for number in range(8)]
    finally:
        Batch.step = plain  # type: ignore[method-assign]
    yield Line("8 requests at beam 4: each has its first step within 10", f"in steps {waited}", max(waited) <= 10)


def _equality(demo: Path) -> Iterator[Line]:
    asked = prompts(PROMPTS)
    with ServiceProcess("--model", demo, "--queue", "64") as service:
        service.wait_ready()
        alone = [_ask(service.port, prompt).body for prompt in asked]
        with ThreadPoolExecutor(CLIENTS) as pool:
            together = list(pool.map(lambda prompt: _own(service.port, prompt), asked))
    equal = sum(reply == other for reply, (other, _) in zip(alone, together, strict=True))
    mixed = sum(not own for _, own in together)
    yield Line(
        f"{PROMPTS} prompts by {CLIENTS} clients: at least 99% of the replies are those given alone",
        f"{equal} equal",
        equal >= 0.99 * PROMPTS,
    )
    yield Line("no conversation holds another visitor's words", f"{mixed} do", mixed == 0)


def _own(port: int, prompt: str) -> tuple[str, bool]:
    """A reply, and whether its conversation holds this message and this reply and nothing else."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("POST", "/chatbot", json.dumps({"prompt": prompt}))
        response = connection.getresponse()
        reply, session = response.read().decode(), response.headers["X-Session-Id"]
        connection.request("GET", f"/sessions/{session}")
        turns = json.loads(connection.getresponse().read())["turns"]
    return reply, [turn["text"] for turn in turns] == [prompt, reply]


def _crowd(demo: Path) -> Iterator[Line]:
    """64 clients against room for four replies of beam 10 and four that wait."""
    with ServiceProcess("--model", demo, "--rows", "40", "--queue", "4") as service:
        service.wait_ready()
        process = psutil.Process(service.pid)
        answers: list[Answer] = []
        end = time.monotonic() + CROWD_S
        memory: list[float] = []

        def visit(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < end:
                answer = _ask(service.port, f"{PROMPT} I am visitor {draw.randrange(1000)}.")
                answers.append(answer)
                if answer.status == 503:
                    time.sleep(draw.uniform(0.05, 0.2))

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(CROWD)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            time.sleep(2)
            memory.append(process.memory_info().rss / 1e6)
        for thread in threads:
            thread.join()
        healthy = service.get("/readyz").status == 200 and _ask(service.port, PROMPT).status == 200
    counts = Counter(answer.status for answer in answers)
    honest = all(answer.retry_after for answer in answers if answer.status in {429, 503})
    warm = memory[len(memory) // 4]
    yield Line(
        f"{CROWD} clients for {CROWD_S:g} s: every one is answered, or refused with Retry-After",
        f"{dict(sorted(counts.items()))}, all refusals with Retry-After: {honest}",
        set(counts) <= {200, 429, 503} and honest,
    )
    yield Line(
        f"memory after warm-up grows by less than {STEADY_MB:g} MB",
        f"{warm:.0f} MB after {CROWD_S / 4:g} s, {memory[-1]:.0f} MB at the end",
        memory[-1] - warm < STEADY_MB,
    )
    yield Line("the service is healthy after", str(healthy), healthy)


def _leavers(demo: Path) -> Iterator[Line]:
    with ServiceProcess("--model", demo, "--queue", "250") as service:
        service.wait_ready()
        fresh = min(_timed(service.port) for _ in range(5))
        draw = random.Random(7)
        left = []
        for number in range(LEAVERS):
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            connection.request("POST", "/chatbot", json.dumps({"prompt": PROMPT, "stream": number % 2 == 0}))
            left.append((time.monotonic() + draw.uniform(0.0, 3.0), connection))
        for due, connection in sorted(left, key=lambda pair: pair[0]):
            time.sleep(max(0.0, due - time.monotonic()))
            connection.close()
        idle = service.wait_idle(60.0)
        after = min(_timed(service.port) for _ in range(5))
    yield Line(f"rows and queue are 0 within 1 s of the last of {LEAVERS} leavers", f"{idle:.2f} s", idle <= 1.0)
    yield Line(
        "a new request takes as long as on a fresh service",
        f"{after:.2f} s, {fresh:.2f} s on a fresh one",
        after <= 1.25 * fresh,
    )


def _stopping(demo: Path) -> Iterator[Line]:
    with ServiceProcess("--model", demo, "--rows", "80") as service:
        service.wait_ready()
        with ThreadPoolExecutor(8) as pool:
            replies = [pool.submit(_ask, service.port, PROMPT) for _ in range(8)]
            while service.metric("chatbot_batch_rows") < 80:
                time.sleep(0.005)
            service.signal(signal.SIGTERM)
            time.sleep(0.05)
            refused = _ask(service.port, PROMPT)
            statuses = [reply.result().status for reply in replies]
        code = service.wait()
    yield Line(
        "SIGTERM with 8 running: all complete, new ones get 503 with Retry-After, exit 0",
        f"{statuses}, then {refused.status} with {refused.retry_after}, exit {code}",
        statuses == [200] * 8 and refused.status == 503 and bool(refused.retry_after) and code == 0,
    )
    with ServiceProcess("--model", demo, "--rows", "80") as service:
        service.wait_ready()
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(_ask, service.port, PROMPT)
            while not service.metric("chatbot_batch_rows"):
                time.sleep(0.005)
            service.signal(signal.SIGTERM)
            time.sleep(0.05)
            started = time.monotonic()
            service.signal(signal.SIGTERM)
            service.wait(5)
            seconds = time.monotonic() - started
    yield Line("a second SIGTERM ends it within a second", f"{seconds:.2f} s", seconds <= 1.0)
    with ServiceProcess("--model", demo) as service:
        port = service.wait_ready().port
        service.signal(signal.SIGKILL)
        service.wait()
        with ServiceProcess("--model", demo, "--port", str(port)) as again:
            status = _ask(again.wait_ready().port, PROMPT).status
    yield Line("after kill -9 the restart is clean", f"status {status}", status == 200)


def _idle(demo: Path) -> Iterator[Line]:
    with ServiceProcess("--model", demo) as service:
        _ask(service.wait_ready().port, PROMPT)
        process = psutil.Process(service.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(20)
        share = (sum(process.cpu_times()[:2]) - before) / 20
    yield Line("idle CPU is under 1% of a core", f"{share:.2%}", share < 0.01)


def _ask(port: int, prompt: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        try:
            connection.request("POST", "/chatbot", json.dumps({"prompt": prompt}))
            response = connection.getresponse()
            return Answer(response.status, response.headers["Retry-After"], response.read().decode())
        except OSError as error:
            return Answer(0, None, str(error))


def _timed(port: int) -> float:
    started = time.monotonic()
    _ask(port, PROMPT)
    return time.monotonic() - started
