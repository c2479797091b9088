"""Turns of text become the token ids that the model was trained on."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import PreTrainedTokenizerFast

from service.chat.prompt import PromptFormat, clean

WINDOW = 128
END = 2
CONTROL_IDS = {0, 1, 2, 3}
VOCABULARY = 300


def reference(tokenizer: PreTrainedTokenizerFast, turns: Sequence[str]) -> list[int]:
    """The format as the model was trained, by the tokenizer as it comes."""
    return list(tokenizer("  ".join(" " + turn.strip() for turn in turns), verbose=False).input_ids)


def turn_of(tokenizer: PreTrainedTokenizerFast, size: int) -> str:
    """A turn of exactly `size` tokens, the leading space included."""
    words = random.Random(size)
    text = ""
    while (length := len(tokenizer(" " + text, add_special_tokens=False).input_ids)) != size:
        text = text + words.choice("bcdfgkmpqz") if length < size else text[:-1]
    return text


@pytest.mark.parametrize(
    "turns",
    [
        ["Hello"],
        ["Hello", "Hi, how are you?", "I'm fine 's"],
        ["  spaces around  ", "inner   spaces stay", "'s", "42", "?!"],
        ["🙂 family 👨‍👩‍👧", "שלום עולם", "مرحبا", "日本語", "e\u0301 combining", "\u200bzero width"],
    ],
)
def test_ids_equal_those_of_the_training_format(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast, turns: list[str]
) -> None:
    prompt = prompt_format.encode(turns)
    assert prompt.ids == reference(tokenizer, turns)
    assert prompt.truncated_turns == 0


def test_turns_stand_three_spaces_apart_with_one_before_the_first_and_the_end_token_last(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = prompt_format.encode(["first", "second", "third"]).ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == " first   second   third</s>"


def test_decoding_leaves_out_special_tokens_and_the_space_around(prompt_format: PromptFormat) -> None:
    inner = prompt_format.encode(["a reply"]).ids
    assert prompt_format.decode([1, *inner, 0, 0]) == "a reply"
    assert prompt_format.count([1, *inner, 0, 0]) == len(inner) - 1


def test_a_history_that_just_fits_is_kept_whole(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    separator = len(tokenizer("  ", add_special_tokens=False).input_ids)
    turns = [turn_of(tokenizer, WINDOW - 1 - separator - 40), turn_of(tokenizer, 40)]
    prompt = prompt_format.encode(turns)
    assert len(prompt.ids) == WINDOW
    assert prompt.ids == reference(tokenizer, turns)
    assert prompt.truncated_turns == 0


def test_one_token_too_many_drops_the_whole_oldest_turn(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    separator = len(tokenizer("  ", add_special_tokens=False).input_ids)
    turns = [turn_of(tokenizer, WINDOW - separator - 40), turn_of(tokenizer, 40)]
    prompt = prompt_format.encode(turns)
    assert prompt.ids == reference(tokenizer, turns[1:])
    assert prompt.truncated_turns == 1


def test_the_longest_run_of_newest_turns_that_fits_is_kept(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    turns = [f"turn number {number}" for number in range(40)]
    fitting = next(first for first in range(40) if len(reference(tokenizer, turns[first:])) <= WINDOW)
    prompt = prompt_format.encode(turns)
    assert prompt.truncated_turns == fitting > 0
    assert prompt.ids == reference(tokenizer, turns[fitting:])


def test_a_short_turn_older_than_a_dropped_one_is_dropped_too(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    turns = ["a", turn_of(tokenizer, 120), turn_of(tokenizer, 30)]
    prompt = prompt_format.encode(turns)
    assert prompt.ids == reference(tokenizer, turns[2:])
    assert prompt.truncated_turns == 2


def test_a_single_turn_that_is_too_long_loses_its_beginning(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    turn = " ".join(f"word{number}" for number in range(200))
    prompt = prompt_format.encode(["earlier", "turns", turn])
    assert prompt.ids == reference(tokenizer, [turn])[-WINDOW:]
    assert prompt.truncated_turns == 2
    assert prompt.truncated_tokens == len(reference(tokenizer, [turn])) - WINDOW > 0


def test_a_turn_that_just_fits_loses_nothing_and_one_token_more_loses_one(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    for excess in (0, 1, 2):
        prompt = prompt_format.encode([turn_of(tokenizer, WINDOW - 1 + excess)])
        assert (len(prompt.ids), prompt.truncated_tokens) == (WINDOW, excess)


@pytest.mark.parametrize("character", ["\n", "\r\n", "\t", "\x00", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_newlines_and_control_characters_become_one_space(prompt_format: PromptFormat, character: str) -> None:
    assert prompt_format.encode([f"{character}left{character}right{character}"]) == prompt_format.encode(["left right"])


@pytest.mark.parametrize(
    "text",
    ["<mask>", "</s>", "<s>", "<pad>", "<unk>", "say <mask> and </s><s> <pad>!", "</s> </s></s>", " <mask>", "<MASK>"],
)
def test_special_tokens_typed_by_users_stay_plain_text(prompt_format: PromptFormat, text: str) -> None:
    for turns in ([text], ["hello", text, "bye"], [text * 50]):
        ids = prompt_format.encode(turns).ids
        assert ids[-1] == END
        assert not CONTROL_IDS & set(ids[:-1])
        assert max(ids) < VOCABULARY
    assert prompt_format.decode(prompt_format.encode([text]).ids) == text.strip()


def test_five_hundred_turns_are_cut_to_the_window_at_once(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    turns = [f"this is turn {number}" for number in range(500)]
    started = time.process_time()
    prompt = prompt_format.encode(turns)
    assert time.process_time() - started < 0.5
    assert len(prompt.ids) <= WINDOW
    assert prompt.ids == reference(tokenizer, turns[prompt.truncated_turns :])


def test_an_empty_reply_in_the_history_leaves_the_others_readable(prompt_format: PromptFormat) -> None:
    text = prompt_format.decode(prompt_format.encode(["before", "", "after"]).ids)
    assert text.split() == ["before", "after"]


def test_any_text_gives_a_window_that_the_model_can_read(
    prompt_format: PromptFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    chance = random.Random(7)
    pieces = ["<mask>", "</s>", "<s>", "<pad>", "<unk>", "\n", "  ", "\x00", "🙂", "ש", "\u0301", "'s", "word", "9"]
    for _ in range(200):
        turns = []
        for _ in range(chance.randint(1, 12)):
            drawn = [chance.choice(pieces) if chance.random() < 0.5 else _character(chance) for _ in range(12)]
            turns.append("".join(drawn[: chance.randint(1, 12)]))
        prompt = prompt_format.encode(turns)
        assert 1 <= len(prompt.ids) <= WINDOW
        assert prompt.ids[-1] == END
        assert not CONTROL_IDS & set(prompt.ids[:-1])
        assert max(prompt.ids) < VOCABULARY
        kept = [clean(turn) for turn in turns[prompt.truncated_turns :]]
        if all(kept) and not any("<" in turn for turn in kept) and len(reference(tokenizer, kept)) <= WINDOW:
            assert prompt.ids == reference(tokenizer, kept)


def test_many_threads_encode_at_once(prompt_format: PromptFormat) -> None:
    histories = [[f"thread {number}", "says <mask>", "bye " * number] for number in range(40)]
    expected = [prompt_format.encode(turns) for turns in histories]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(prompt_format.encode, histories * 10)) == expected * 10


def _character(chance: random.Random) -> str:
    while 0xD800 <= (code := chance.randrange(0x110000)) <= 0xDFFF:
        pass
    return chr(code)
