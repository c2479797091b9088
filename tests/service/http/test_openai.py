"""The official client of OpenAI's API, unchanged, against a running service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, ChatCompletionMessageParam

from tests.service.process import ONE_MINUTE, ServiceProcess

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You like tea."},
    {"role": "user", "content": "Hello there"},
]
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
PATH = "/v1/chat/completions"
# Steps take a while, and fail while the file exists.
PLANTED = """
import time
from pathlib import Path
from service.engine.batch import Batch
step = Batch.step
def planted(self):
    time.sleep(0.01)
    if Path({path!r}).exists():
        raise RuntimeError("planted")
    return step(self)
Batch.step = planted
"""

Connect = Callable[..., OpenAI]


@pytest.fixture(scope="module")
def service(short_export: Path) -> Iterator[ServiceProcess]:
    """A service that most tests share; nothing they do may leave a stack trace in its log."""
    with ServiceProcess("--model", short_export) as process:
        yield process.wait_ready()
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that makes the steps of `slow` fail while it exists."""
    return tmp_path_factory.mktemp("fault") / "fault"


@pytest.fixture(scope="module")
def slow(long_export: Path, fault: Path) -> Iterator[ServiceProcess]:
    """A service whose replies take more than a second, with room for one that runs and one that waits."""
    planted = PLANTED.format(path=str(fault))
    arguments = ("--model", long_export, "--threads", "1", "--rows", "10", "--queue", "1")
    with ServiceProcess(*arguments, planted=planted) as process:
        yield process.wait_ready()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients that try once unless told otherwise."""
    clients: list[OpenAI] = []

    def make(process: ServiceProcess, *, retries: int = 0, timeout_s: float = 60) -> OpenAI:
        clients.append(OpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=retries, timeout=timeout_s))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(service: ServiceProcess, connect: Connect) -> OpenAI:
    return connect(service)


def complete(client: OpenAI, messages: Sequence[Any] = HELLO, /, **wishes: Any) -> ChatCompletion:
    completion: ChatCompletion = client.chat.completions.create(model="auto", messages=messages, **wishes)
    return completion


def stream(client: OpenAI, messages: Sequence[Any] = HELLO, /, **wishes: Any) -> Stream[ChatCompletionChunk]:
    chunks: Stream[ChatCompletionChunk] = client.chat.completions.create(
        model="auto", messages=messages, stream=True, **wishes
    )
    return chunks


def text_of(completion: ChatCompletion) -> str:
    """The first reply."""
    content = completion.choices[0].message.content
    assert content
    return content


def events(body: str) -> list[Any]:
    """Data of a stream as it stands on the wire, comments left out; the last one is not JSON."""
    *blocks, end = body.split("\n\n")
    assert end == ""
    data = [block.rpartition("\n")[2].removeprefix("data: ") for block in blocks]
    return [json.loads(line) if line.startswith("{") else line for line in data]


class TestModels:
    def test_the_list_names_the_model_that_answers(self, client: OpenAI) -> None:
        (model,) = client.models.list().data
        assert model.object == "model"
        assert client.models.retrieve(model.id) == model
        assert client.chat.completions.create(model=model.id, messages=HELLO).model == model.id

    def test_an_unknown_model_is_not_found(self, client: OpenAI) -> None:
        for ask in (
            lambda: client.models.retrieve("gpt-4o"),
            lambda: client.chat.completions.create(model="gpt-4o", messages=HELLO),
        ):
            with pytest.raises(openai.NotFoundError) as raised:
                ask()
            assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


class TestChat:
    def test_a_reply_has_all_that_the_client_reads(self, client: OpenAI) -> None:
        completion = complete(client, MESSAGES)
        assert completion.id.startswith("chatcmpl-")
        assert completion.object == "chat.completion"
        assert abs(completion.created - time.time()) < 60
        assert completion.system_fingerprint
        (choice,) = completion.choices
        assert (choice.index, choice.message.role, choice.logprobs) == (0, "assistant", None)
        assert choice.message.content
        assert choice.finish_reason in {"stop", "length"}
        usage = completion.usage
        assert usage is not None
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens > 0
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert completion.model_extra == {"truncated_turns": 0, "truncated_tokens": 0}

    def test_it_is_the_reply_of_the_chat(self, service: ServiceProcess, client: OpenAI) -> None:
        plain = service.curl("-d", json.dumps({"prompt": "Hello there"}))
        for extra in ({}, {"temperature": 0}, {"seed": 5}):
            completion = complete(client, **extra)
            assert text_of(completion) == plain.body

    def test_the_clients_messages_are_all_that_is_remembered(self, service: ServiceProcess, client: OpenAI) -> None:
        def reply(messages: Sequence[Any]) -> str:
            return text_of(complete(client, messages))

        first = reply(HELLO)
        history: list[ChatCompletionMessageParam] = [
            *HELLO,
            {"role": "assistant", "content": first},
            {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "now?"}]},
        ]
        session = service.curl("-d", json.dumps({"prompt": "Hello there"})).headers["X-Session-Id"]
        second = service.curl("-d", json.dumps({"prompt": "And now?", "session_id": session}))
        assert reply(history) == second.body
        assert reply(HELLO) == first

    def test_the_message_of_a_reply_can_be_sent_back_as_it_came(self, client: OpenAI) -> None:
        message = complete(client).choices[0].message
        assert text_of(complete(client, [*HELLO, message, {"role": "user", "content": "And now?"}]))

    def test_a_limit_of_tokens_is_kept(self, client: OpenAI) -> None:
        for limits in ({"max_tokens": 4}, {"max_completion_tokens": 4}):
            completion = complete(client, **limits)
            assert completion.choices[0].finish_reason == "length"
            assert completion.usage is not None
            assert completion.usage.completion_tokens == 4
        longer = complete(client, max_tokens=10_000)
        assert longer.usage is not None
        assert longer.usage.completion_tokens > 4

    @pytest.mark.parametrize("wishes", [{}, {"temperature": 1.0, "seed": 3}])
    def test_a_load_generator_gets_the_length_it_asks_for(self, client: OpenAI, wishes: dict[str, Any]) -> None:
        for tokens in (1, 5, 9):
            completion = complete(client, max_tokens=tokens, extra_body={"ignore_eos": True}, **wishes)
            assert completion.usage is not None
            assert completion.usage.completion_tokens == tokens
            assert completion.choices[0].finish_reason == "length"

    def test_a_stop_string_ends_the_reply(self, client: OpenAI) -> None:
        whole = text_of(complete(client))
        assert whole
        for stop in (whole[2:4], ["never said", whole[2:4]]):
            completion = complete(client, stop=stop)
            assert text_of(completion) == whole[: whole.index(whole[2:4])]
            assert completion.choices[0].finish_reason == "stop"

    def test_sampling_gives_choices_that_a_seed_brings_again(self, client: OpenAI) -> None:
        def replies(**wishes: Any) -> list[str | None]:
            completion = complete(client, n=3, **wishes)
            assert [choice.index for choice in completion.choices] == [0, 1, 2]
            return [choice.message.content for choice in completion.choices]

        assert replies(temperature=1.3, seed=5) == replies(temperature=1.3, seed=5)
        assert replies(temperature=1.3, seed=5) != replies(temperature=1.3, seed=6)
        assert len(set(replies(top_p=0.95, seed=5))) > 1

    def test_without_sampling_all_choices_are_the_same_and_one_is_written(self, client: OpenAI) -> None:
        one, three = complete(client), complete(client, n=3)
        assert [choice.message.content for choice in three.choices] == [text_of(one)] * 3
        assert one.usage is not None
        assert three.usage is not None
        assert three.usage.completion_tokens == 3 * one.usage.completion_tokens

    @pytest.mark.parametrize(
        "messages",
        [
            [{"role": "system", "content": "Be kind."}],
            [*HELLO, {"role": "assistant", "content": "Hi"}],
            [{"role": "user", "content": " "}],
        ],
    )
    def test_whatever_was_said_last_is_answered(
        self, client: OpenAI, messages: list[ChatCompletionMessageParam]
    ) -> None:
        assert text_of(complete(client, messages))

    def test_what_did_not_fit_the_window_is_told(self, client: OpenAI) -> None:
        long: list[ChatCompletionMessageParam] = [{"role": "system", "content": "word " * 300}, *HELLO]
        completion = complete(client, long)
        assert completion.model_extra == {"truncated_turns": 1, "truncated_tokens": 0}

    def test_what_did_not_fit_of_the_newest_turn_is_told(self, client: OpenAI) -> None:
        long: list[ChatCompletionMessageParam] = [*HELLO, {"role": "user", "content": "word " * 300}]
        completion = complete(client, long)
        assert completion.model_extra is not None
        assert completion.model_extra["truncated_tokens"] > 100
        with stream(client, long) as chunks:
            assert {str(chunk.model_extra) for chunk in chunks} == {str(completion.model_extra)}


class TestStream:
    @pytest.mark.parametrize(
        "wishes",
        [
            *({}, {"n": 2}, {"max_tokens": 3}, {"n": 3, "stop": "i"}),
            *({"temperature": 1.2, "seed": 4}, {"temperature": 1.2, "seed": 4, "n": 3}),
        ],
    )
    def test_deltas_joined_are_the_whole_reply(self, client: OpenAI, wishes: dict[str, Any]) -> None:
        completion = complete(client, MESSAGES, **wishes)
        texts = ["" for _ in completion.choices]
        reasons: list[str | None] = [None for _ in completion.choices]
        with stream(client, MESSAGES, **wishes) as chunks:
            for chunk in chunks:
                for choice in chunk.choices:
                    assert reasons[choice.index] is None
                    texts[choice.index] += choice.delta.content or ""
                    reasons[choice.index] = choice.finish_reason
        assert texts == [choice.message.content for choice in completion.choices]
        assert reasons == [choice.finish_reason for choice in completion.choices]

    def test_the_wire_carries_role_text_reason_usage_and_end(self, service: ServiceProcess) -> None:
        asked = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
        answer = service.curl("-N", "-d", json.dumps(asked), path=PATH)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        first, *middle, last, usage, end = events(answer.body)
        assert end == "[DONE]"
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in middle)
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in [first, *middle])
        assert last["choices"][0]["delta"] == {}
        assert last["choices"][0]["finish_reason"] in {"stop", "length"}
        assert usage["choices"] == []
        assert usage["usage"]["total_tokens"] > usage["usage"]["completion_tokens"] > 0
        chunks = [first, *middle, last, usage]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
        assert {json.dumps(chunk["usage"]) for chunk in chunks[:-1]} == {"null"}

    def test_usage_comes_only_when_it_is_asked_for(self, service: ServiceProcess) -> None:
        answer = service.curl("-N", "-d", json.dumps({"messages": HELLO, "stream": True}), path=PATH)
        *chunks, end = events(answer.body)
        assert end == "[DONE]"
        assert all(chunk["choices"] and chunk["usage"] is None for chunk in chunks)

    def test_a_stop_string_never_leaks(self, client: OpenAI) -> None:
        wishes = {"temperature": 1.2, "seed": 4}
        whole = text_of(complete(client, **wishes))
        for stop in (whole[3:5], whole[1:6], whole[-3:]):
            with stream(client, stop=stop, **wishes) as chunks:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            assert text == whole[: whole.index(stop)]

    def test_the_clients_own_accumulator_reads_it(self, client: OpenAI) -> None:
        stop = text_of(complete(client))[3:]
        with client.chat.completions.stream(model="auto", messages=HELLO, stop=stop) as chunks:
            completion = chunks.get_final_completion()
        assert text_of(completion) == text_of(complete(client, stop=stop))
        assert completion.choices[0].finish_reason == "stop"


class TestHelpers:
    """What the client brings beyond plain requests, each with the message that it makes sent back."""

    @pytest.mark.parametrize("helper", ["create", "parse", "stream"])
    @pytest.mark.parametrize("form", ["object", "all fields", "fields that were set"])
    def test_a_conversation_goes_on_for_three_turns(self, client: OpenAI, helper: str, form: str) -> None:
        messages: list[Any] = []
        for text in ("Hello there", "And now?", "Really?"):
            messages.append({"role": "user", "content": text})
            # The helpers raise an error for a reply that ends at its limit.
            stop = text_of(complete(client, messages))[3:]
            message = self.ask(client, helper, messages, stop=stop)
            assert message.content == text_of(complete(client, messages, stop=stop))
            messages.append(
                {
                    "object": message,
                    "all fields": message.model_dump(),
                    "fields that were set": message.model_dump(exclude_unset=True),
                }[form]
            )

    @staticmethod
    def ask(client: OpenAI, helper: str, messages: list[Any], *, stop: str) -> ChatCompletionMessage:
        if helper == "create":
            return complete(client, messages, stop=stop).choices[0].message
        if helper == "parse":
            return client.chat.completions.parse(model="auto", messages=messages, stop=stop).choices[0].message
        with client.chat.completions.stream(model="auto", messages=messages, stop=stop) as events:
            return events.get_final_completion().choices[0].message


class TestAsyncClient:
    def test_it_chats_and_streams(self, service: ServiceProcess, client: OpenAI) -> None:
        plain = text_of(complete(client))

        async def chat() -> list[str]:
            async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none") as connection:
                create = connection.chat.completions.create
                completions = await asyncio.gather(*(create(model="auto", messages=HELLO) for _ in range(4)))
                chunks = await create(model="auto", messages=HELLO, stream=True)
                streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
                return [*map(text_of, completions), streamed]

        assert asyncio.run(chat()) == [plain] * 5


class TestErrors:
    def test_what_is_not_done_is_a_bad_request_that_names_it(self, client: OpenAI) -> None:
        for wishes, param in (
            ({"logprobs": True}, "logprobs"),
            ({"response_format": {"type": "json_object"}}, "response_format.type"),
            ({"temperature": 3}, "temperature"),
            ({"extra_body": {"top_k": 5}}, "top_k"),
        ):
            with pytest.raises(openai.BadRequestError) as raised:
                complete(client, **wishes)
            assert raised.value.param == param
            assert raised.value.type == "invalid_request_error"
            assert param in raised.value.message

    def test_a_message_over_the_limit_is_one_over_the_context(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            complete(client, [*HELLO, {"role": "user", "content": "a" * 2001}])
        assert raised.value.code == "context_length_exceeded"
        assert "2001 characters and the limit is 2000" in raised.value.message

    @pytest.mark.parametrize("base", ["", "/", "/api/v1", "/v1/chat/completions", "/chatbot", "/v1/v1"])
    def test_a_wrong_base_url_is_not_found_with_the_right_one(
        self, service: ServiceProcess, connect: Connect, base: str
    ) -> None:
        client = connect(service).with_options(base_url=service.url + base)
        asks: list[Callable[[], object]] = [lambda: complete(client), lambda: client.models.list()]
        for ask in asks:
            with pytest.raises(openai.NotFoundError) as raised:
                ask()
            assert "base URL of OpenAI's clients ends in " in raised.value.message
            assert raised.value.message.endswith("/v1 here.")

    @pytest.mark.parametrize("base", ["/v1/", "//v1", "/v1//"])
    def test_slashes_too_many_in_the_base_url_do_no_harm(
        self, service: ServiceProcess, connect: Connect, client: OpenAI, base: str
    ) -> None:
        other = connect(service).with_options(base_url=service.url + base)
        assert text_of(complete(other)) == text_of(complete(client))
        assert other.models.list().data == client.models.list().data

    def test_a_path_with_doubled_slashes_is_answered_in_place(self, service: ServiceProcess) -> None:
        for path in ("/v1//chat/completions", "//v1/chat//completions"):
            answer = service.curl("--path-as-is", "-d", json.dumps({"messages": HELLO}), path=path)
            assert answer.status == 200
            assert "Location" not in answer.headers

    def test_a_body_over_the_limit_is_a_413(self, client: OpenAI) -> None:
        with pytest.raises(openai.APIStatusError) as raised:
            complete(client, [{"role": "user", "content": "a" * 70_000}])
        assert raised.value.status_code == 413
        assert raised.value.code == "payload_too_large"

    def test_a_failed_step_is_a_server_error_and_within_a_stream_an_api_error(
        self, slow: ServiceProcess, connect: Connect, fault: Path
    ) -> None:
        client = connect(slow)
        with stream(client) as chunks:
            assert next(chunks).choices[0].delta.role == "assistant"
            fault.touch()
            with pytest.raises(openai.APIError, match="could not be computed") as raised:
                list(chunks)
        assert raised.value.code == "engine_fault"
        with pytest.raises(openai.InternalServerError, match="could not be computed"):
            complete(client)
        fault.unlink()
        assert complete(client, max_tokens=2).choices


class TestPatience:
    def test_retries_get_through_a_loading_service_and_not_through_a_limit(
        self, short_export: Path, connect: Connect
    ) -> None:
        with ServiceProcess("--model", short_export, "--client-limit", "8", planted=ONE_MINUTE) as process:
            assert complete(connect(process, retries=6)).choices
            client = connect(process)
            with pytest.raises(openai.RateLimitError) as raised:
                [complete(client) for _ in range(8)]
            assert raised.value.type == "rate_limit_error"
            assert int(raised.value.response.headers["Retry-After"]) > 0
            assert client.models.list().data

    def test_a_full_service_refuses_and_retries_get_through(self, slow: ServiceProcess, connect: Connect) -> None:
        hasty, patient = connect(slow), connect(slow, retries=8)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(complete, patient) for _ in range(4)]
            while slow.metric("chatbot_queue_size") < 1:
                time.sleep(0.02)
            with pytest.raises(openai.InternalServerError) as raised:
                complete(hasty)
            assert raised.value.status_code == 503
            assert int(raised.value.response.headers["Retry-After"]) > 0
            replies = [text_of(future.result()) for future in waiting]
        assert len(set(replies)) == 1

    @pytest.mark.parametrize("choices", [1, 4])
    def test_a_client_that_waits_no_longer_stops_costing(
        self, slow: ServiceProcess, connect: Connect, choices: int
    ) -> None:
        before = slow.metric("chatbot_cancelled_total")
        wishes: dict[str, Any] = {"n": choices, "temperature": 1} if choices > 1 else {}
        with pytest.raises(openai.APITimeoutError):
            complete(connect(slow, timeout_s=0.4), **wishes)
        slow.wait_idle()
        slow.wait_answered()
        assert slow.metric("chatbot_cancelled_total") == before + 1

    def test_a_stream_that_is_closed_early_stops_costing(self, slow: ServiceProcess, connect: Connect) -> None:
        before = slow.metric("chatbot_cancelled_total")
        with stream(connect(slow)) as chunks:
            next(chunks)
        slow.wait_idle()
        slow.wait_answered()
        assert slow.metric("chatbot_cancelled_total") == before + 1
