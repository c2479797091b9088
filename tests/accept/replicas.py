"""Two replicas with Ray Serve: 500 conversations, two messages at once, replicas killed under load, Redis lost."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoTokenizer

from service.chat.prompt import PromptFormat
from tests.accept import folders
from tests.accept.outcome import Line
from tests.deploy.replicas import Replicas
from tests.redis_server import RedisServer
from tests.service import echo
from tests.service.soak import converse, insist_while, speak_at_once

REPLICAS, CLIENTS = 2, 16
CONVERSATIONS, EXCHANGES = 500, 6
PAIRED, PAIRS = 50, 5
KILLS = 10
RETRY_S = 30.0


def check() -> list[Line]:
    demo = folders.demo("int8")
    prompt_format = PromptFormat(AutoTokenizer.from_pretrained(demo), window=echo.EchoModel.window)
    with TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis:
        flags = ("--replicas", str(REPLICAS), "--store", redis.url(), "--metrics-port", "0")
        with Replicas("--model", demo, *flags, plant=echo.plant) as replicas:
            lines = [
                _histories(replicas, prompt_format),
                _at_once(replicas, prompt_format),
                _kills(replicas, prompt_format),
                _redis_lost(replicas, redis, prompt_format),
            ]
        few = ("--replicas", "1", "--max-replicas", "2", "--target-requests", "2", "--store", redis.url())
        with Replicas("--model", demo, *few, "--metrics-port", "0", plant=echo.plant) as replicas:
            return [*lines, _more_of_them(replicas, prompt_format)]


def _histories(replicas: Replicas, prompt_format: PromptFormat) -> Line:
    mistakes = converse(replicas.port, prompt_format, conversations=CONVERSATIONS, clients=CLIENTS, exchanges=EXCHANGES)
    return Line(
        f"{CONVERSATIONS} conversations by {CLIENTS} clients at {REPLICAS} replicas: nothing mixed, lost or doubled",
        f"{CONVERSATIONS * EXCHANGES} exchanges, {_told(mistakes)}",
        not mistakes,
    )


def _at_once(replicas: Replicas, prompt_format: PromptFormat) -> Line:
    mistakes = speak_at_once(replicas.port, prompt_format, conversations=PAIRED, pairs=PAIRS)
    return Line(
        f"{PAIRED} conversations with {PAIRS} times two messages at once: each answered once, in an order that holds",
        f"{PAIRED * (1 + 2 * PAIRS)} exchanges, {_told(mistakes)}",
        not mistakes,
    )


def _kills(replicas: Replicas, prompt_format: PromptFormat) -> Line:
    acknowledged = interrupted = 0
    mistakes: list[str] = []
    for _ in range(KILLS):
        replicas.wait_replicas(REPLICAS)
        outcome = insist_while(
            replicas.port,
            prompt_format,
            clients=CLIENTS,
            exchanges=10 * CLIENTS,
            within_s=RETRY_S,
            disturb=lambda: replicas.wait_replicas(REPLICAS, without=replicas.kill_one()),
        )
        acknowledged += outcome.acknowledged
        interrupted += outcome.interrupted
        mistakes += outcome.mistakes
    return Line(
        f"kill -9 of one of {REPLICAS} replicas under {CLIENTS} clients, {KILLS} times: nothing acknowledged lost, "
        f"and a retry with the same key has its reply within {RETRY_S:g} s",
        f"{acknowledged} exchanges acknowledged, {interrupted} tries in vain, {_told(mistakes)}",
        not mistakes and interrupted > 0,
    )


def _redis_lost(replicas: Replicas, redis: RedisServer, prompt_format: PromptFormat) -> Line:
    refused: list[int] = []

    def lose() -> None:
        redis.stop()
        body = ("-d", '{"prompt": "Hello"}', "-H", "Accept: application/json")
        answers = [replicas.curl(*body) for _ in range(4)]
        refused.extend(answer.status for answer in answers if "retry-after" in answer.headers)
        redis.start()

    outcome = insist_while(
        replicas.port, prompt_format, clients=CLIENTS, exchanges=10 * CLIENTS, within_s=RETRY_S, disturb=lose
    )
    return Line(
        "Redis stopped and started under load: 503s, then recovery without a restart, and nothing lost",
        f"refused with {refused}; {outcome.acknowledged} exchanges acknowledged, {_told(outcome.mistakes)}",
        not outcome.mistakes and refused == [503] * 4,
    )


def _more_of_them(replicas: Replicas, prompt_format: PromptFormat) -> Line:
    before = len(replicas.pids())
    outcome = insist_while(
        replicas.port,
        prompt_format,
        clients=CLIENTS,
        exchanges=10 * CLIENTS,
        within_s=RETRY_S,
        disturb=lambda: replicas.wait_replicas(2),
    )
    return Line(
        f"under {CLIENTS} clients a second replica is started, and nobody notices",
        f"{before} before, {len(replicas.pids())} after, {outcome.interrupted} tries in vain, "
        f"{_told(outcome.mistakes)}",
        before == 1 and outcome.interrupted == 0 and not outcome.mistakes,
    )


def _told(mistakes: list[str]) -> str:
    return f"{len(mistakes)} mistakes" + (f", such as: {mistakes[0]}" if mistakes else "")
