"""Clients that nobody here wrote: three turns, a stream with comments in it, and an error, as plain HTTP has them."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

from tests.accept import folders
from tests.accept.outcome import Line
from tests.clients import gradio_page, guidellm_run
from tests.clients.browsers import BROWSERS, talk_in, version
from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import HERE, interpreter, node, packages
from tests.clients.talk import Talk, Task
from tests.export_child import ROOT
from tests.service.conftest import with_generation
from tests.service.process import ServiceProcess

TEXTS = ["Hi, my name is Anna.", "Do you remember my name?", "Thank you, good night!"]
LONG = "word " * 500
REFUSED = "prompt is too long: the last message has 2500 characters and the limit is 2000"
# Clients that have a word of their own for a message over the limit.
OWN_WORDS = {"LangChain, Python": "ContextOverflow", "LiteLLM": "ContextWindowExceededError"}
# Greedy, so that text comes token by token, with silences that are filled with comments.
GREEDY = {"num_beams": 1}
PLANTED = """
import itertools, time
from service.http import events
from service.engine.batch import Batch
events.PING_S = 0.0
step, steps = Batch.step, itertools.count()
def planted(self):
    time.sleep(0.25 * (next(steps) % 8 == 7))
    return step(self)
Batch.step = planted
"""
PATIENCE_S = 180.0


def check() -> list[Line]:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo-greedy"
        with_generation(folders.demo("int8"), folder, GREEDY)
        arguments = ("--model", folder, "--store", "memory", "--reply-cache", "0")
        with ServiceProcess(*arguments, planted=PLANTED) as service:
            service.wait_ready()
            return list(_lines(service.url, folder))


def _lines(url: str, folder: Path) -> Iterator[Line]:
    task = Task(f"{url}/v1", TEXTS, LONG)
    expected, comments = _expected(task)
    yield Line("a stream holds comments and each blank line ends an event", f"{comments} comments", comments > 0)
    for client in CLIENTS:
        for where in client.runs_in:
            # The official client for Python has tests of its own, and guidellm talks in its own words.
            if client.name not in {"", "guidellm"}:
                yield _line(client, where, task, expected)
    requests = guidellm_run.run(url, folder)
    answered = requests["successful"]
    turns = {request["info"]["turn_index"] for request in answered}
    lengths = {request["output_tokens"] for request in answered}
    yield Line(
        f"guidellm: {guidellm_run.REQUESTS} requests of {guidellm_run.TURNS} turns, streamed",
        f"{', '.join(f'{len(those)} {outcome}' for outcome, those in requests.items())}, of {sorted(lengths)} tokens",
        len(answered) == guidellm_run.REQUESTS
        and not requests["errored"]
        and len(turns) == guidellm_run.TURNS
        and lengths == {guidellm_run.TOKENS},
    )


def _line(client: Client, where: str, task: Task, expected: list[str]) -> Line:
    inside = f"{where} ({version(where)})" if where in BROWSERS else where
    promise = f"{client.title} ({', '.join(client.versions)}) in {inside}: three turns, a stream, an error"
    try:
        talk = _talk(client, where, task)
    except (RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        return Line(promise, f"failed: {str(error).strip()[-500:]}", False)
    pieces = [piece for piece in talk.pieces if piece]
    turns = sum(one == other for one, other in zip(talk.turns, expected, strict=True))
    met = (
        turns == len(TEXTS)
        and "".join(pieces) == expected[0]
        and len(pieces) > 1
        and REFUSED in talk.error
        and OWN_WORDS.get(client.title, "") in talk.error
    )
    figure = f"{turns} turns as by plain HTTP, {len(pieces)} pieces, "
    return Line(promise, figure + ("the error as it is" if REFUSED in talk.error else f"error {talk.error!r}"), met)


def _talk(client: Client, where: str, task: Task) -> Talk:
    if client.name == "gradio":
        return gradio_page.talk(task)
    if where == "Python":
        return _told([interpreter(client.name), "-m", f"tests.clients.python.with_{client.name}", _json(task)], ROOT)
    folder = packages(client.name)
    module = f"with_{client.name}.mjs"
    for name in (module, "in_node.mjs"):
        copy(HERE / "js" / name, folder)
    if where == "Node.js":
        return _told([node(), "in_node.mjs", f"./{module}", _json(task)], folder)
    bundle = folder / "in_browsers.mjs"
    esbuild = packages("esbuild") / "node_modules" / ".bin" / "esbuild"
    bundled: list[str | Path] = [esbuild, module, "--bundle", "--format=esm", "--platform=browser", "--log-level=error"]
    subprocess.run([*bundled, f"--outfile={bundle}"], cwd=folder, capture_output=True, text=True, check=True)
    return Talk(**talk_in(where, bundle, asdict(task)))


def _told(command: list[str | Path], folder: Path) -> Talk:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    return Talk(**json.loads(ended.stdout.strip().splitlines()[-1]))


def _json(task: Task) -> str:
    return json.dumps(asdict(task))


def _expected(task: Task) -> tuple[list[str], int]:
    """The replies, and how many comments came within a stream of the first one, whose events all had data."""
    messages: list[dict[str, str]] = []
    for text in task.texts:
        messages.append({"role": "user", "content": text})
        reply = json.loads(_post(task, {"messages": messages}))["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": reply})
    *events, rest = _post(task, {"messages": messages[:1], "stream": True}).split("\n\n")
    assert not rest
    assert all(event.rpartition("\n")[2].startswith("data: ") for event in events)
    comments = sum(line.startswith(":") for event in events for line in event.split("\n"))
    return [message["content"] for message in messages[1::2]], comments


def _post(task: Task, body: dict[str, Any]) -> str:
    with urllib.request.urlopen(f"{task.base_url}/chat/completions", json.dumps(body).encode()) as response:
        return str(response.read().decode())
