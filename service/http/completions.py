"""`POST /v1/chat/completions`: a conversation that the client keeps, answered as OpenAI's API does."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, g, request

from models.manifest import Manifest
from service import departure, logs
from service.chat.completion import Completion
from service.chat.reply_stream import ReplyStream
from service.errors import ServiceError
from service.http import events, limits
from service.http.body import read_body
from service.http.completion_reply import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    CompletionUsage,
    Delta,
    ReplyMessage,
)
from service.http.completion_request import ChatCompletionRequest, parse_completion_request
from service.http.errors import openai_error
from service.http.models import check_name
from service.http.operation import EVENTS, JSON, Events, Operation, Reply, describe
from service.http.timing import server_timing
from service.metrics import Metrics
from service.serving.runtime import Runtime

OPERATION = Operation(
    "Answer a conversation that the client keeps",
    Reply(
        "The replies, or with `stream` chunks of them, `[DONE]` last.",
        {JSON: ChatCompletion, EVENTS: Events({"message": ChatCompletionChunk}, end="[DONE]")},
    ),
    description="As OpenAI's API; nothing is stored.",
    body=ChatCompletionRequest,
    errors=(400, 404, 413, 415, 429, 500, 503, 504),
)


def blueprint(runtime: Runtime) -> Blueprint:
    """The route, bound to what it needs."""
    routes = Blueprint("completions", __name__, url_prefix="/v1")

    @routes.post("/chat/completions")
    @describe(OPERATION)
    def complete() -> Response:
        config = runtime.config
        body = parse_completion_request(read_body(config.max_body_bytes), max_prompt_chars=config.max_prompt_chars)
        limits.count(body.task.choices - 1)
        with ExitStack() as resources:
            resources.enter_context(runtime.admission.admit(g.client))
            model = runtime.host.model
            check_name(body.model, model)
            completion = resources.enter_context(
                model.chatbot.complete(
                    body.task,
                    timeout_s=config.deadline_s,
                    gone=departure.watch(request.environ),
                    client=g.client,
                )
            )
            answer = _Answer(completion, model.manifest)
            if not body.stream:
                completion.finish()
                answer.count(runtime.metrics)
                return answer.whole()
            with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
            response = answer.streamed(runtime.metrics, with_usage=with_usage)
            response.call_on_close(resources.pop_all().close)
            return response

    return routes


class _Answer:
    """A completion in OpenAI's words."""

    def __init__(self, completion: Completion, manifest: Manifest) -> None:
        self._completion = completion
        self._id = f"chatcmpl-{secrets.token_urlsafe(18)}"
        self._created = int(time.time())
        self._model = manifest.name
        self._fingerprint = _fingerprint(manifest)

    def count(self, metrics: Metrics) -> None:
        """Count the replies; each has read the prompt."""
        completion = self._completion
        for stream in completion.streams:
            metrics.written(
                stream.timing,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=stream.tokens,
                truncated_tokens=completion.truncated_tokens,
            )
        logs.note(choices=len(completion.choices), completion_tokens=self._usage().completion_tokens)

    def whole(self) -> Response:
        completion = self._completion
        body = ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[_choice(place, stream) for place, stream in enumerate(completion.choices)],
            usage=self._usage(),
            system_fingerprint=self._fingerprint,
            truncated_turns=completion.truncated_turns,
            truncated_tokens=completion.truncated_tokens,
        )
        response = Response(body.model_dump_json(), mimetype="application/json")
        response.headers["Server-Timing"] = server_timing(completion.streams[0].timing)
        return response

    def streamed(self, metrics: Metrics, *, with_usage: bool) -> Response:
        def end() -> str:
            self.count(metrics)
            return (self._chunk(usage=self._usage()) if with_usage else "") + events.event("[DONE]")

        return events.stream(self._pieces(), end=end, failure=_failure, metrics=metrics)

    def _pieces(self) -> Iterator[str]:
        for place in range(len(self._completion.choices)):
            yield self._chunk(ChunkChoice(index=place, delta=Delta(role="assistant", content="")))
        for piece in self._completion.pieces():
            chunks = ""
            if piece.text:
                chunks = self._chunk(ChunkChoice(index=piece.choice, delta=Delta(content=piece.text)))
            if piece.finish_reason is not None:
                last = ChunkChoice(index=piece.choice, delta=Delta(), finish_reason=piece.finish_reason)
                chunks += self._chunk(last)
            yield chunks

    def _chunk(self, *choices: ChunkChoice, usage: CompletionUsage | None = None) -> str:
        chunk = ChatCompletionChunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=list(choices),
            usage=usage,
            system_fingerprint=self._fingerprint,
            truncated_turns=self._completion.truncated_turns,
            truncated_tokens=self._completion.truncated_tokens,
        )
        return events.event(chunk.model_dump_json())

    def _usage(self) -> CompletionUsage:
        prompt = self._completion.prompt_tokens
        written = sum(stream.tokens for stream in self._completion.choices)
        return CompletionUsage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


def _choice(place: int, stream: ReplyStream) -> Choice:
    assert stream.finish_reason is not None
    return Choice(index=place, message=ReplyMessage(content=stream.text), finish_reason=stream.finish_reason)


def _failure(error: ServiceError) -> str:
    return events.event(openai_error(str(error), error.status, error.code, error.param))


def _fingerprint(manifest: Manifest) -> str:
    """Equal where the exported files are."""
    sums = "".join(record.sha256 for record in manifest.files.values())
    return f"fp_{hashlib.sha256(sums.encode()).hexdigest()[:10]}"
