"""What each token does to a text: its bytes, and which tokens would complete a forbidden phrase."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from models.folder import ModelFolderError
from service.chat.phrases import Phrases
from service.chat.vocabulary import ForbiddenPhrases, pieces

SIZE = 300
END = 2
# Texts that may follow: between them they make every word another one, or end it.
ENDINGS = ("", "zq", "t", "'t", "'tz")


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture(scope="module")
def letters(tokenizer: PreTrainedTokenizerFast) -> list[bytes]:
    return pieces(tokenizer, SIZE)


def test_the_bytes_of_tokens_joined_are_the_decoded_text(
    tokenizer: PreTrainedTokenizerFast, letters: list[bytes]
) -> None:
    draw = random.Random(2)
    for _ in range(300):
        ids = [draw.randrange(SIZE) for _ in range(12)]
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert b"".join(letters[token] for token in ids).decode(errors="replace") == text
    ids = encode(tokenizer, "naïve 🙂 “quoted” …")
    assert b"".join(letters[token] for token in ids).decode().strip() == "naïve 🙂 “quoted” …"


def test_special_tokens_and_those_that_the_tokenizer_lacks_say_nothing(
    tokenizer: PreTrainedTokenizerFast, letters: list[bytes]
) -> None:
    assert all(letters[token] == b"" for token in tokenizer.all_special_ids if token < SIZE)
    assert pieces(tokenizer, len(tokenizer) + 5)[len(tokenizer) :] == [b""] * 5


def test_another_kind_of_tokenizer_is_refused_in_one_sentence() -> None:
    backend = Tokenizer(models.WordPiece({"a": 0, "##b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    for decoder in (decoders.WordPiece(), None):
        if decoder is not None:
            backend.decoder = decoder
        with pytest.raises(ModelFolderError, match="byte-level tokenizers only"):
            pieces(PreTrainedTokenizerFast(tokenizer_object=backend), 3)


@pytest.mark.parametrize(
    "listed", [["a", "he", "hell", "on t"], ["don", "don't go", "can"], ["café", "Ünter", "🙂", "地獄", "a$$"]]
)
def test_each_token_does_to_a_text_what_the_text_with_it_shows(
    tokenizer: PreTrainedTokenizerFast, letters: list[bytes], listed: list[str]
) -> None:
    phrases = Phrases(listed)
    forbidden = ForbiddenPhrases(phrases, letters, end=END)
    draw = random.Random(4)
    said = [*listed, "don'", "ca", "caf", "on", "can't", "they", "地", "a$", "\ufffd", ". ", "Don\u2019"]
    banned = 0
    for number in range(60):
        prefix = encode(tokenizer, draw.choice(["", "well ", "x"]) + draw.choice(said))
        prefix = prefix[: draw.randint(0, len(prefix))] if number % 2 else prefix
        state = forbidden.start
        for token in prefix:
            state = int(forbidden.moves(state).after[token])
        before = b"".join(letters[token] for token in prefix)
        if state == 0:
            assert all(phrases.holds(before.decode(errors="replace") + ending) for ending in ENDINGS)
            continue
        assert forbidden.may_end(state) is not phrases.holds(before.decode(errors="replace"))
        moves = forbidden.moves(state)
        for token in range(SIZE):
            if token == END:
                assert (token in moves.banned) is not forbidden.may_end(state)
                continue
            data = before + letters[token]
            text = data.decode(errors="replace")
            assert moves.unsafe[token] == phrases.holds(text), (text, token)
            if not text.endswith("\ufffd"):
                lost = all(phrases.holds(text + ending) for ending in ENDINGS)
                assert (token in moves.banned) == lost, (text, token)
                banned += lost
    assert banned


def test_a_character_in_parts_is_one_character(tokenizer: PreTrainedTokenizerFast, letters: list[bytes]) -> None:
    forbidden = ForbiddenPhrases(Phrases(["hell"]), letters, end=END)
    by_bytes = {piece: token for token, piece in enumerate(letters) if len(piece) == 1}

    def said(data: bytes) -> tuple[bool, bool]:
        """Whether it may go on, and whether it may end."""
        state = forbidden.start
        for byte in data:
            state = int(forbidden.moves(state).after[by_bytes[bytes([byte])]])
        return state != 0, forbidden.may_end(state)

    assert said(b"hell") == (True, False)
    assert said("hellé".encode()) == (True, True), "another word"
    assert said("hellé".encode()[:-1]) == (True, False), "half a letter is no letter if nothing follows"
    assert said("hell…".encode()) == (False, False)
    assert said("hell\u2019".encode()) == (False, False)
    assert said("hell🙂".encode()[:6]) == (True, False)
    assert said("hell🙂".encode()) == (False, False)
    assert said(b"hell\xe2 ") == (False, False), "half a letter ends the word"
    assert said(b"hell\xe2lo") == (False, False)
    assert said(b"hell\xff") == (False, False)
