"""Words and phrases are found in a text as people would find them."""

from __future__ import annotations

import random

import pytest

from service.chat.phrases import EMPTY, MATCHED, Phrases
from tests.service.never_said import holding

HELD = [
    ("hell", "hell"),
    ("hell", "What the HELL."),
    ("Hell", "hell's bells"),
    ("hell", "hell-bent"),
    ("hell", "_hell_"),
    ("hell", "*hell*"),
    ("hell", "<b>hell</b>"),
    ("hell", "hell\ufffd"),
    ("hell", "\u0301hell"),
    ("hell", "h\u00ade\u200bl\u2060l"),
    ("hell", "\uff48\uff45\uff4c\uff4c"),
    ("hell", "hell\u2019o"),
    ("go to bed", "Go\nto  ...\tBED!"),
    ("go to bed", "go go to go to bed"),
    ("go to bed", "(go) 'to' -- bed"),
    ("go to bed", "go *to* $ bed"),
    ("go, to: bed", "go to bed"),
    ("self-harm", "self harm"),
    ("self harm", "self\u2013harm"),
    ("e.g.", "e.g. this"),
    ("U.S.A.", "the u s a"),
    ("9/11", "9-11"),
    ("don't", "Don\u2019t"),
    ("don't", "do n't"),
    ("don't go", "don't  go"),
    ("don", "Don's hat"),
    ("don", "the don'"),
    ("don", "don'tx"),
    ("can", "I can."),
    ("I", "I'm"),
    ("enfer", "l'enfer"),
    ("Straße", "STRASSE"),
    ("strasse", "straße"),
    ("café", "cafe\u0301"),
    ("cafe\u0301", "CAFÉ"),
    ("ΣΟΦΟΣ", "σοφος"),
    ("ÅNGSTRÖM", "ångström"),
    ("ﬁne", "fine"),
    ("a$$", "a$$"),
    ("a$$", "A $ $!"),
    ("C++", "in c++."),
    ("#1", "the # 1"),
    ("f**k", "F**K"),
    ("🖕", "x🖕🏽y"),
    ("地獄", "去地獄吧"),
    ("นรก", "ไปนรกซะ"),
]
NOT_HELD = [
    ("hell", "Hello"),
    ("hell", "shell"),
    ("hell", "he'll"),
    ("hell", "he ll"),
    ("hell", "hell2"),
    ("hell", "hellé"),
    ("hell", "helle\u0301"),
    ("ass", "class assume grass"),
    ("go to bed", "go to bedroom"),
    ("go to bed", "gone to bed"),
    ("go to bed", "go to the bed"),
    ("self-harm", "selfharm"),
    ("e.g.", "eg"),
    ("don", "don't"),
    ("don", "don\u2019t you"),
    ("can", "can't"),
    ("can", "cant"),
    ("can", "CAN'T!"),
    ("don't do", "do not do"),
    ("don't", "dont"),
    ("cafe", "café"),
    ("schon", "schön"),
    ("a$$", "a $ b"),
    ("a$$", "a"),
    ("C++", "c, c+"),
    ("地獄", "地上獄"),
    ("word", ""),
    ("word", "  "),
]


@pytest.mark.parametrize(("phrase", "text"), HELD)
def test_a_phrase_is_found(phrase: str, text: str) -> None:
    for found in (Phrases([phrase]), Phrases(["other", phrase, f"{phrase} too", "go", "can't do", "x y z"])):
        assert found.holds(text)
        assert found.holds(f"well {text}")
        assert found.holds(f"{text}\nthen")


@pytest.mark.parametrize(("phrase", "text"), NOT_HELD)
def test_what_only_looks_like_a_phrase_is_not_one(phrase: str, text: str) -> None:
    assert not Phrases([phrase]).holds(text)
    assert not Phrases([phrase]).holds(f"{text}, well")


def test_phrases_that_begin_alike_and_overlap_are_each_found() -> None:
    phrases = Phrases(["a b c", "b d", "c d e", "don", "don't do", "a b b"])
    for text in ("a b c", "a b d", "b c d e", "a a b c", "a b b", "don't do", "don do"):
        assert phrases.holds(text), text
    for text in ("a b", "b c d", "don't", "a c b"):
        assert not phrases.holds(text), text


def test_a_regular_expression_agrees_on_random_texts() -> None:
    draw = random.Random(5)
    count = 0
    for _ in range(60):
        phrases = [
            " ".join("".join(draw.choices("abn", k=draw.randint(1, 3))) for _ in range(draw.randint(1, 3)))
            for _ in range(draw.randint(1, 6))
        ]
        automaton = Phrases(phrases)
        texts = [
            "".join(draw.choices(["a", "b", "n", "n't", "A", " ", "  ", ", ", "\n", "-", "'", "_"], k=12))
            for _ in range(60)
        ]
        held = holding(phrases, texts)
        assert [text for text in texts if automaton.holds(text)] == held, phrases
        count += len(held)
    assert 300 < count < 3300


def test_a_text_that_holds_one_goes_on_holding_it() -> None:
    phrases = Phrases(["hell"])
    state = phrases.follow(EMPTY, "to hell ")
    assert state == MATCHED
    assert phrases.follow(state, "anything else") == MATCHED


def test_a_text_cut_within_a_word_is_shortened_until_it_holds_none() -> None:
    phrases = Phrases(["hell", "go to bed", "be"])
    assert phrases.clean("what the hell") == "what the hel"
    assert phrases.clean("go to bed") == "go to b"
    assert phrases.clean("hello") == "hello"
    assert phrases.clean("") == ""
    text = "oh hell, go to bed, they said"
    for size in range(len(text) + 1):
        cleaned = phrases.clean(text[:size])
        assert text.startswith(cleaned)
        assert not phrases.holds(cleaned)


def test_a_long_list_takes_little_time_and_memory() -> None:
    draw = random.Random(3)
    phrases = Phrases(
        " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2)) for _ in range(1000)
    )
    assert len(phrases.table) < 15_000
