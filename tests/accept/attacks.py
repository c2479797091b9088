"""Nobody stops the service, and nobody gets in: attacks in the numbers that do harm."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import resource
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from service.conversations.conversation import Exchange
from service.conversations.sqlite import SQLiteStore
from tests.accept import folders
from tests.accept.outcome import Line
from tests.accept.prompts import prompts
from tests.service.process import ServiceProcess
from tests.service.serving.test_connections import ASKED, CONVERSATION

CROWDS = (130, 400, 1000)
DESCRIPTORS = (1024, 20_000)
RECOVERY_S, WATCH_S = 35.0, 50.0
LOG_LINES = 100
MEMORY_MB = 100.0
ATTACKER, OTHER, ANOTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
MESSAGES, ATTACKERS, START_S = 24, 8, 0.5
KEY = "key-of-the-operator"
PROMPT = json.dumps({"prompt": "Hello"})


def check() -> list[Line]:
    demo = folders.demo("int8")
    lines = [line for files in DESCRIPTORS for crowd in CROWDS for line in _unread(demo, crowd, files)]
    shares = [line for model in (demo, folders.synthetic("int8")) for line in _share(model)]
    return [*lines, *shares, *_keys(demo), *_smuggling(demo), *_bodies(demo)]


def _unread(demo: Path, crowd: int, files: int) -> Iterator[Line]:
    """Connections that ask for everything there is and read nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(files, hard)
    planted = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))"
    with TemporaryDirectory() as folder, contextlib.ExitStack() as stack, contextlib.ExitStack() as crowded:
        path = Path(folder) / "conversations"
        store = SQLiteStore(path, capacity=100, ttl_s=3600)
        for version in range(500):
            store.append(CONVERSATION, Exchange("🙂" * 2000, "Well."), version=version)
        store.close()
        service = stack.enter_context(ServiceProcess("--model", demo, "--store", path, planted=planted))
        service.wait_ready()
        process = psutil.Process(service.pid)
        _ask(service.port, PROMPT)
        before, open_before, lines = process.memory_info().rss, process.num_fds(), service.log.count("\n")
        started = time.monotonic()

        def attack() -> None:
            for asked in itertools.islice(itertools.cycle(ASKED.values()), crowd):
                connection = crowded.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(10)
                with contextlib.suppress(OSError):
                    connection.connect((ATTACKER, service.port))
                    connection.sendall(asked * max(1, 8000 // len(asked)))

        attacker = threading.Thread(target=attack)
        attacker.start()
        early: list[float] = []
        late: list[float] = []
        while time.monotonic() - started < WATCH_S:
            seconds = _alive(service.port)
            (late if time.monotonic() - started > RECOVERY_S else early).append(seconds)
            time.sleep(0.25)
        attacker.join()
        answered = [_ask(service.port, PROMPT)[0] for _ in range(3)]
        crowded.close()
        service.wait_idle()
        time.sleep(2)
        grown, left = process.memory_info().rss - before, process.num_fds() - open_before
        lines = service.log.count("\n") - lines
    yield Line(
        f"{crowd} connections that read nothing, {limit} descriptors: /livez within 1 s after {RECOVERY_S:g} s, and "
        "/chatbot works; memory and files come back; the log grows by less than 100 lines",
        f"/livez {max(early):.2f} s at most before, {max(late):.2f} s after; /chatbot {answered}; "
        f"{grown / 1e6:.0f} MB and {left} files more; {lines} lines",
        max(late) < 1 and answered == [200] * 3 and grown < MEMORY_MB * 1e6 and left < 10 and lines < LOG_LINES,
    )


def _share(model: Path) -> Iterator[Line]:
    """One address that asks for eight replies at a time, as fast as it can, and another one with some messages."""
    wishes = {"n": 8, "temperature": 2, "max_tokens": 60, "messages": [{"role": "user", "content": "Hello"}]}
    said = [json.dumps({"prompt": prompt}) for prompt in prompts(MESSAGES)]
    with ServiceProcess("--model", model, "--client-limit", "60", "--store", "memory") as service:
        service.wait_ready()
        alone = [min(_ask(service.port, one, source=OTHER)[1] for _ in range(2)) for one in said]
        stop = multiprocessing.Event()
        seen: Queue[Counter[int]] = multiprocessing.Queue()
        attacker = multiprocessing.Process(target=_flood, args=(service.port, json.dumps(wishes), stop, seen))
        attacker.start()
        time.sleep(START_S)
        answers = [_ask(service.port, one, source=ANOTHER) for one in said]
        stop.set()
        refused = seen.get()
        attacker.join()
    times = sorted((seconds / before for (_, seconds), before in zip(answers, alone, strict=True)), reverse=True)
    statuses = Counter(status for status, _ in answers)
    yield Line(
        f"{model.name}: one address asks n=8 as fast as it can with --client-limit 60: each of {MESSAGES} messages of "
        "another one takes three times its time alone at most",
        f"{statistics.median(alone):.3f} s alone; the slowest took {', '.join(f'{ratio:.1f}' for ratio in times[:3])} "
        f"times its time, the median {statistics.median(times):.1f}; {dict(statuses)}; the other had {dict(refused)}",
        times[0] <= 3 and set(statuses) == {200},
    )


def _flood(port: int, body: str, stop: Event, seen: Queue[Counter[int]]) -> None:
    """Ask as fast as can be, with the processor time that the service leaves, since attackers bring their own."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    statuses: Counter[int] = Counter()

    def attack() -> None:
        while not stop.is_set():
            statuses[_ask(port, body, path="/v1/chat/completions")[0]] += 1

    attackers = [threading.Thread(target=attack) for _ in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()
    seen.put(statuses)


def _keys(demo: Path) -> Iterator[Line]:
    """Ways past the key: paths written differently, methods, headers and queries that look like one."""
    paths = ["/chatbot", "/metrics", "/sessions/some-id", "/v1/models", "/v1/chat/completions"]
    tricks = ["{0}", "/{0}", "//{0}", "{0}/", "{0}/.", "{0}/..", "/.{0}", "/static/..{0}", "/static{0}", "/livez{0}"]
    tricks += ["/livez/..{0}", "/static/%2e%2e{0}", "{0}%00", "{0}%0a", "{0};x", "{0}?/livez", "{0}#/livez", "{0}%3f"]
    tricks += ["/docs/..{0}", "http://localhost{0}", "http://localhost/livez/..{0}", "{0}%20", "\\{0}", "/%2e{0}"]
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "LIVEZ"]
    headers = ["", "Authorization: Bearer", "Authorization: Bearer  ", "Authorization: Basic a2V5", "X-Api-Key: key"]
    headers += [f"Authorization: Bearer {KEY[:-1]}", f"Authorization: Bearer {KEY}x", f"Cookie: key={KEY}"]
    headers += [f"X-Api-Key: {KEY}", f"Authorization : Bearer {KEY}", "X-Original-URL: /livez", "X-Rewrite-URL: /livez"]
    with ServiceProcess("--model", demo, "--store", "memory", "--api-keys", KEY) as service:
        service.wait_ready()
        requests = [
            f"{method} {trick.format(path)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n"
            for path, trick, method, header in itertools.product(paths, tricks, methods, headers[:2])
        ]
        requests += [
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n"
            for path, header in itertools.product(paths, headers)
        ]
        answers = _all(service, [request.replace("\r\n\r\n\r\n", "\r\n\r\n").encode() for request in requests])
        told = KEY in service.log
    inside = [request for request, answer in answers if b"chatbot_requests" in answer or b'"object"' in answer]
    statuses = Counter(answer.split(b" ")[1].decode() if answer else "none" for _, answer in answers)
    yield Line(
        f"{len(answers)} requests without the right key: none gets in, no key in the log",
        f"{len(inside)} got in; {dict(statuses)}",
        not inside and not told,
    )


def _smuggling(demo: Path) -> Iterator[Line]:
    """Requests that tell their end in two ways, with another request where one of them has its end."""
    body = PROMPT.encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    encodings = [
        b"chunked",
        b"Chunked",
        b" chunked",
        b"chunked ",
        b"\tchunked",
        b"\x0bchunked",
        b"xchunked",
        b"identity",
    ]
    encodings += [
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b'"chunked"',
        b"chunked;q=1",
        b"chunked\x00",
    ]
    lengths = [b"%d", b"+%d", b"0%d", b"%d ", b" %d", b"%d, %d", b"-%d", b"0x%d", b"%d.0", b"%d\x00", b"5", b"0"]
    names = [
        b"Transfer-Encoding",
        b"Transfer-Encoding ",
        b" Transfer-Encoding",
        b"transfer_encoding",
        b"TRANSFER-ENCODING",
    ]
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    requests = []
    for version, name, encoding, length in itertools.product((b"1.1", b"1.0"), names, encodings, lengths):
        said = length.replace(b"%d", b"%d" % len(chunked))
        head = b"POST /chatbot HTTP/" + version + b"\r\nHost: localhost\r\nContent-Length: " + said
        requests.append(head + b"\r\n" + name + b": " + encoding + b"\r\n\r\n" + chunked + smuggled)
    with ServiceProcess("--model", demo, "--store", "memory") as service:
        service.wait_ready()
        answers = _all(service, requests)
        healthy = _ask(service.port, PROMPT)[0]
    # A request with one length alone may be followed by another one: that is no smuggling.
    astray = [
        request
        for request, answer in answers
        if b"/smuggled" in answer and request.lower().count(b"transfer-encoding:") == 1
    ]
    yield Line(
        f"{len(answers)} requests of two lengths: none has two meanings, and the service is healthy after",
        f"{len(astray)} had two; then {healthy}",
        not astray and healthy == 200,
    )


def _bodies(demo: Path) -> Iterator[Line]:
    """Bodies that are not what they should be."""
    values = ["null", "true", "1", "1e999", "-0", '""', '"\\ud800"', '"\\u0000"', "[]", "{}", '"' + "a" * 60_000 + '"']
    values += ["[" * 5000, '{"a":' * 5000, "9" * 5000, '"\\ud83d\\ude42"', '"../../etc/passwd"', '"\' OR 1=1"', "NaN"]
    fields = ["prompt", "session_id", "stream", "messages", "n", "temperature", "top_p", "stop", "max_tokens", "model"]
    good = {
        "/chatbot": '"prompt": "Hello"',
        "/v1/chat/completions": '"messages": [{"role": "user", "content": "Hello"}]',
    }
    requests = []
    for (path, rest), field, value in itertools.product(good.items(), fields, values):
        for text in (f'{{"{field}": {value}}}', f'{{{rest}, "{field}": {value}}}', value):
            content = text.encode("utf-8", "surrogatepass")
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            requests.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    with ServiceProcess("--model", demo, "--store", "memory") as service:
        service.wait_ready()
        answers = _all(service, requests)
        traced = "Traceback" in service.log
    statuses = Counter(answer.split(b" ")[1].decode() if answer else "none" for _, answer in answers)
    yield Line(
        f"{len(answers)} bodies that are not right: none is a 500, and the log has no trace",
        f"{dict(statuses)}",
        "500" not in statuses and not traced,
    )


def _all(service: ServiceProcess, requests: list[bytes]) -> list[tuple[bytes, bytes]]:
    def exchange(request: bytes) -> tuple[bytes, bytes]:
        received = b""
        with contextlib.suppress(OSError), socket.create_connection((ATTACKER, service.port), timeout=10) as connection:
            connection.sendall(request)
            connection.settimeout(3)
            while more := connection.recv(65536):
                received += more
        return request, received

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(exchange, requests))


def _alive(port: int) -> float:
    started = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection(ATTACKER, port, timeout=10)) as connection:
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except OSError:
            return 10.0
    return time.monotonic() - started


def _ask(port: int, body: str, *, path: str = "/chatbot", source: str = ATTACKER) -> tuple[int, float]:
    started = time.monotonic()
    opened = http.client.HTTPConnection(ATTACKER, port, timeout=60, source_address=(source, 0))
    with contextlib.closing(opened) as connection:
        try:
            connection.request("POST", path, body)
            response = connection.getresponse()
            response.read()
        except OSError:
            return 0, time.monotonic() - started
        return response.status, time.monotonic() - started
