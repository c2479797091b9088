"""What operators watch, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from models.manifest import Manifest
from service import logs
from service.chat.answer import Reply
from service.engine.generation import Origin, Timing
from service.engine.kernels.library import Kernels
from service.errors import Cancelled, ContextLengthExceeded, EngineStopped, ServiceError, StoreUnavailable

PREFIX = "chatbot"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
REFUSALS = frozenset({401, 413, 429, 503})
# 503s that somebody must repair.
BROKEN = (EngineStopped, StoreUnavailable)


class Metrics:
    """Counters and gauges of one service. Safe for many threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", "route", "code")
        self.duration = self._histogram("request_duration_seconds", "From request to last byte.", SECONDS, "route")
        self.in_progress = self._gauge("requests_in_progress", "Requests being answered.")
        self._queue_wait = self._histogram("queue_wait_seconds", "Waiting for a place in the batch.", SECONDS)
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From the engine's acceptance to the first token computed.", SECONDS
        )
        self._per_token = self._histogram(
            "time_per_output_token_seconds", "Decoding time over the tokens of the reply.", TOKEN_SECONDS
        )
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens read.")
        self._generated_tokens = self._counter("generated_tokens", "Tokens of replies.")
        self._replies = self._counter(
            "replies", "Replies: computed, shared with a request that asked the same, or cached.", "origin"
        )
        for origin in get_args(Origin):
            self._replies.labels(origin)
        self._rejected = self._counter("rejected", "Requests refused.", "reason")
        self._failed = self._counter(
            "failed", "Requests that failed here, streams that had begun among them.", "reason"
        )
        self._cancelled = self._counter("cancelled", "Requests whose client went away.")
        self._model = self._gauge("model_info", "The model served.", "name", "precision", "source", "kernels")

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        self._gauge(name, description).set_function(value)

    def serves(self, manifest: Manifest, kernels: Kernels) -> None:
        """Name the model, and the instruction set of its products."""
        self._model.labels(manifest.name, manifest.quantization["precision"], manifest.origin, kernels.name).set(1)

    def replied(self, reply: Reply) -> None:
        """Count a reply, for the log too; one that was stored before cost nothing."""
        exchange = reply.exchange
        if reply.timing is None:
            logs.note(replayed=True)
            return
        self.written(
            reply.timing,
            prompt_tokens=exchange.prompt_tokens,
            completion_tokens=exchange.completion_tokens,
            truncated_tokens=exchange.truncated_tokens,
        )

    def written(self, timing: Timing, *, prompt_tokens: int, completion_tokens: int, truncated_tokens: int) -> None:
        """Count a reply and, unless it was computed for another request, what it took; for the log too."""
        logs.note(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            truncated_tokens=truncated_tokens,
            origin=timing.origin,
            queue_s=round(timing.queue_s, 4),
            encode_s=round(timing.encode_s, 4),
            decode_s=round(timing.decode_s, 4),
        )
        self._replies.labels(timing.origin).inc()
        if timing.origin != "computed":
            return
        self._queue_wait.observe(timing.queue_s)
        self._first_token.observe(timing.first_token_s)
        self._per_token.observe(timing.decode_s / max(1, completion_tokens))
        self._prompt_tokens.inc(prompt_tokens)
        self._generated_tokens.inc(completion_tokens)

    def failed(self, error: ServiceError) -> None:
        """Count a request that got no reply, for the log too."""
        logs.note(error=error.code)
        if isinstance(error, Cancelled):
            self._cancelled.inc()
        elif (error.status in REFUSALS and not isinstance(error, BROKEN)) or isinstance(error, ContextLengthExceeded):
            self._rejected.labels(error.code).inc()
        elif error.status >= 500:
            self._failed.labels(error.code).inc()

    def as_text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def listen(self, host: str, port: int) -> None:
        """Show them at an address of their own, for as long as the process lives.

        Raises:
            OSError: the address cannot be taken.
        """
        start_http_server(port, host, self._registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, namespace=PREFIX, registry=self._registry)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(name, description, labels, namespace=PREFIX, registry=self._registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, description, labels, namespace=PREFIX, buckets=buckets, registry=self._registry)
