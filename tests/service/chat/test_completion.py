"""Replies to a conversation that the client keeps: how they are decoded, where they end, and what they cost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from service.chat.chatbot import Chatbot
from service.chat.completion import Completion
from service.chat.prompt import PromptFormat
from service.chat.stop import StopStrings
from service.chat.task import Task, as_turns, decodings
from service.engine.settings import DecodingSettings
from service.errors import Cancelled, DeadlineExceeded, EngineFault, Overloaded
from service.serving.model_host import ServedModel
from tests.service.fakes import FakeEngine, FakeModel

OWN = DecodingSettings(
    num_beams=10,
    min_length=20,
    max_length=60,
    length_penalty=0.65,
    no_repeat_ngram_size=3,
    encoder_no_repeat_ngram_size=3,
    forced_eos_token_id=2,
)
WORDS = "Tea is warm, and so is the sun. Do you like tea too?"


class Speaking(NamedTuple):
    """A chatbot that always says the same, and its engine."""

    chatbot: Chatbot
    engine: FakeEngine

    @property
    def model(self) -> FakeModel:
        return self.engine.model

    def wait_idle(self) -> None:
        while self.engine.running or self.engine.waiting:
            time.sleep(0.001)


Speaker = Callable[..., Speaking]


class StepsUntil(list[int]):
    """Steps of a model whose gate is shut after so many."""

    def __init__(self, model: FakeModel, most: int) -> None:
        super().__init__()
        self._model = model
        self._most = most

    def append(self, size: int) -> None:
        super().append(size)
        if len(self) == self._most:
            self._model.gate.clear()


@pytest.fixture
def speaker(prompt_format: PromptFormat) -> Iterator[Speaker]:
    """Makes chatbots that always say the same, a few letters a step."""
    engines: list[FakeEngine] = []

    def make(text: str = WORDS, *, beams: int = 1, **limits: int) -> Speaking:
        ids = prompt_format.encode([text]).ids
        engines.append(FakeEngine(FakeModel(beams=beams, reply=[1, *ids]), **limits))
        return Speaking(Chatbot(engines[-1], prompt_format), engines[-1])

    yield make
    for engine in engines:
        engine.gate.set()
        engine.close()


def finished(chatbot: Chatbot, task: Task) -> Completion:
    with chatbot.complete(task, timeout_s=30) as completion:
        completion.finish()
        return completion


def streamed(chatbot: Chatbot, task: Task) -> tuple[list[str], Completion]:
    """Joined pieces of each reply."""
    texts = [""] * task.choices
    with chatbot.complete(task, timeout_s=30) as completion:
        for piece in completion.pieces():
            texts[piece.choice] += piece.text
        return texts, completion


class TestTurns:
    def test_speakers_take_turns(self) -> None:
        assert as_turns([("user", "a"), ("assistant", "b"), ("user", "c")]) == ["a", "b", "c"]

    def test_what_the_system_says_is_the_first_turn(self) -> None:
        assert as_turns([("system", "s"), ("user", "a"), ("developer", "d"), ("user", "b")]) == ["s d", "a b"]

    def test_consecutive_messages_of_one_role_are_one_turn(self) -> None:
        assert as_turns([("assistant", "a"), ("assistant", "b"), ("user", "c"), ("user", "d")]) == ["a b", "c d"]

    def test_messages_without_text_are_no_turns(self) -> None:
        said = [("system", " "), ("user", "a"), ("assistant", ""), ("user", "\n\0"), ("user", "b")]
        assert as_turns(said) == ["a b"]


class TestDecoding:
    def test_without_a_wish_the_model_decodes_in_its_own_way(self) -> None:
        assert decodings(OWN, Task(["a"])) == [OWN]

    def test_sampling_keeps_bans_and_least_length(self) -> None:
        (settings,) = decodings(OWN, Task(["a"], temperature=0.7, top_p=0.9, seed=5))
        assert (settings.num_beams, settings.do_sample, settings.top_k) == (1, True, 0)
        assert (settings.temperature, settings.top_p, settings.seed) == (0.7, 0.9, 5)
        assert (settings.min_length, settings.max_length) == (OWN.min_length, OWN.max_length)
        assert (settings.no_repeat_ngram_size, settings.encoder_no_repeat_ngram_size) == (3, 3)

    @pytest.mark.parametrize(("tokens", "longest"), [(1, 3), (30, 32), (58, 60), (59, 60), (10**30, 60)])
    def test_a_limit_beyond_the_models_own_is_clamped_to_it(self, tokens: int, longest: int) -> None:
        (settings,) = decodings(OWN, Task(["a"], max_tokens=tokens))
        assert settings.max_length == longest
        assert settings.min_length == min(20, longest)

    @pytest.mark.parametrize(("tokens", "longest"), [(5, 7), (10**6, 60), (None, 60)])
    def test_a_reply_goes_on_to_its_limit_where_that_is_asked_for(self, tokens: int | None, longest: int) -> None:
        (settings,) = decodings(OWN, Task(["Hello"], max_tokens=tokens, ignore_eos=True))
        assert (settings.min_length, settings.max_length) == (longest, longest)

    def test_each_choice_has_a_seed_of_its_own_and_the_first_that_of_the_request(self) -> None:
        few = decodings(OWN, Task(["a"], temperature=1, seed=-3))
        many = decodings(OWN, Task(["a"], temperature=1, seed=-3, choices=4))
        assert many[0] == few[0]
        assert len({settings.seed for settings in many}) == 4
        assert all(settings.seed is not None and settings.seed >= 0 for settings in many)

    def test_the_coldest_temperature_draws_the_likeliest_token(self, served: ServedModel) -> None:
        cold = finished(served.chatbot, Task(["Hello"], temperature=5e-324, top_p=5e-324, seed=1))
        again = finished(served.chatbot, Task(["Hello"], temperature=1e-3, seed=2))
        assert cold.streams[0].text == again.streams[0].text


class TestReplies:
    def test_the_models_own_decoding_gives_its_own_reply(
        self, served: ServedModel, prompt_format: PromptFormat
    ) -> None:
        (draft,) = finished(served.chatbot, Task(["What do you eat?"])).streams
        ids = served.chatbot.engine.submit(prompt_format.encode(["What do you eat?"]).ids, timeout_s=30).wait(30).ids
        assert draft.text == prompt_format.decode(ids)
        assert draft.tokens == prompt_format.count(ids)

    def test_a_seed_brings_the_same_replies_again(self, served: ServedModel) -> None:
        def texts(seed: int | None) -> list[str]:
            task = Task(["Hello"], temperature=1.5, seed=seed, choices=4)
            return [draft.text for draft in finished(served.chatbot, task).streams]

        assert texts(7) == texts(7)
        assert texts(7) != texts(8)
        assert len(set(texts(7))) > 1
        assert texts(None) != texts(None)

    def test_choices_are_decoded_together(self, speaker: Speaker) -> None:
        speaking = speaker()
        finished(speaking.chatbot, Task(["Hello"], temperature=1, choices=5))
        assert max(speaking.model.steps) == 5

    @pytest.mark.parametrize("beams", [1, 4])
    @pytest.mark.parametrize("tokens", [1, 2, 7, 20])
    def test_a_reply_has_no_more_tokens_than_asked_for(self, speaker: Speaker, beams: int, tokens: int) -> None:
        (draft,) = finished(speaker(beams=beams).chatbot, Task(["Hello"], max_tokens=tokens)).streams
        assert draft.tokens == tokens
        assert draft.finish_reason == "length"
        assert WORDS.startswith(draft.text)

    def test_a_reply_that_reaches_the_models_own_limit_says_so(self, speaker: Speaker) -> None:
        (draft,) = finished(speaker().chatbot, Task(["Hello"], max_tokens=1000)).streams
        assert (draft.text, draft.finish_reason) == (WORDS, "length")

    def test_a_reply_that_ends_by_itself_says_so(self, speaker: Speaker) -> None:
        (draft,) = finished(speaker("Tea").chatbot, Task(["Hello"])).streams
        assert (draft.text, draft.finish_reason) == ("Tea", "stop")

    @pytest.mark.parametrize("choices", [1, 3])
    def test_pieces_joined_are_the_whole_replies(self, served: ServedModel, choices: int) -> None:
        task = Task(["Hello"], temperature=1.2, seed=3, choices=choices)
        texts, completion = streamed(served.chatbot, task)
        assert texts == [draft.text for draft in completion.streams]
        assert texts == [draft.text for draft in finished(served.chatbot, task).streams]

    def test_what_did_not_fit_the_window_is_counted(self, speaker: Speaker) -> None:
        completion = finished(speaker().chatbot, Task(["word " * 20, "word " * 60, "Hello"]))
        assert completion.truncated_turns == 2
        assert completion.prompt_tokens <= 128


class TestStop:
    @pytest.mark.parametrize("beams", [1, 4])
    @pytest.mark.parametrize("stop", [".", " sun", "and so", "too?", "Tea", "nowhere", "tea too? And more"])
    def test_whole_and_streamed_replies_end_before_it(self, speaker: Speaker, beams: int, stop: str) -> None:
        task = Task(["Hello"], stop=("@", stop))
        (whole,) = finished(speaker(beams=beams).chatbot, task).streams
        (text,), completion = streamed(speaker(beams=beams).chatbot, task)
        assert text == whole.text == WORDS.split(stop)[0]
        (draft,) = completion.streams
        assert (draft.finish_reason, draft.tokens) == (whole.finish_reason, whole.tokens)
        if stop in WORDS:
            assert draft.finish_reason == "stop"

    def test_no_piece_holds_a_beginning_of_it(self, speaker: Speaker) -> None:
        with speaker().chatbot.complete(Task(["Hello"], stop=("warm, and then",)), timeout_s=30) as completion:
            pieces = [piece.text for piece in completion.pieces()]
        assert "".join(pieces) == WORDS
        sent = list(itertools.accumulate(pieces))
        assert not [text for text in sent if "warm, and then".startswith(text[text.find("warm") :]) and "warm" in text]

    def test_work_ends_with_it(self, speaker: Speaker) -> None:
        speaking = speaker()
        speaking.model.steps = StepsUntil(speaking.model, 15)
        (draft,) = finished(speaking.chatbot, Task(["Hello"], stop=("is",))).streams
        assert draft.text == "Tea "
        assert draft.timing.decode_s > 0
        speaking.wait_idle()
        assert len(speaking.model.steps) <= 15

    def test_other_choices_go_on_after_it(self, speaker: Speaker) -> None:
        with speaker().chatbot.complete(Task(["Hello"], temperature=1, choices=2), timeout_s=30) as completion:
            completion.streams[0]._stop = StopStrings(["is"])
            completion.finish()
            assert [draft.text for draft in completion.streams] == ["Tea ", WORDS]

    def test_tokens_are_counted_up_to_its_end(self, speaker: Speaker, prompt_format: PromptFormat) -> None:
        (draft,) = finished(speaker().chatbot, Task(["Hello"], stop=("warm",))).streams
        assert draft.text == "Tea is "
        assert draft.tokens == len(prompt_format.encode(["Tea is warm"]).ids) - 1


class TestFailures:
    @pytest.fixture
    def stuck(self, speaker: Speaker) -> Speaking:
        """A chatbot that does not get on."""
        speaking = speaker(queue_size=1, max_rows=2)
        speaking.engine.gate.clear()
        return speaking

    def test_a_client_that_goes_away_stops_the_work(self, stuck: Speaking) -> None:
        left = iter([False, False, True])
        task = Task(["Hello"], temperature=1, choices=2)
        with (
            stuck.chatbot.complete(task, timeout_s=30, gone=lambda: next(left)) as completion,
            pytest.raises(Cancelled),
        ):
            completion.finish()
        stuck.wait_idle()

    def test_a_late_reply_is_given_up(self, stuck: Speaking) -> None:
        with stuck.chatbot.complete(Task(["Hello"]), timeout_s=0.05) as completion, pytest.raises(DeadlineExceeded):
            completion.finish()

    def test_of_choices_that_do_not_all_find_room_none_is_written(self, stuck: Speaking) -> None:
        with pytest.raises(Overloaded):
            stuck.chatbot.complete(Task(["Hello"], temperature=1, choices=8), timeout_s=30)
        stuck.wait_idle()

    def test_a_fault_fails_the_request(self, stuck: Speaking) -> None:
        with stuck.chatbot.complete(Task(["Hello"], temperature=1, choices=2), timeout_s=30) as completion:
            stuck.model.poison = 2
            with pytest.raises(EngineFault):
                completion.finish()
