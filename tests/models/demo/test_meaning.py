"""The teacher tells which intents lines have, and which everyday lines stand for a wording."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.demo import meaning
from models.demo.dialogues import Exchange, Split, Subject, words
from models.demo.everyday import unlike
from models.demo.meaning import Intents, UserLines, wordings
from models.demo.teacher import WIDTH

PETS = Exchange(
    "pets", "pet_story", Split(("my cat is asleep", "the {pet} barks"), ()), Split(("A cat!", "A dog barks!"), ())
)
FOOD = Exchange("food", "hungry", Split(("I want soup",), ()), Split(("Soup is warm.", "Bread fills."), ()))
SUBJECTS = (
    Subject("pets", frozenset(), {"pet": Split(("dog",), ("fox",))}, (PETS,)),
    Subject("food", frozenset(), {}, (FOOD,)),
)


def embed(texts: Sequence[str], folder: Path) -> NDArray[np.float16]:
    """In place of the teacher: texts are alike as far as they share words."""
    vectors = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in words(text):
            row[Random(word).randrange(WIDTH)] += 1
    found: NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return found


@pytest.fixture(autouse=True)
def teacher_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "embed", embed)
    monkeypatch.setattr(meaning, "FIT_BATCH", 64)


def _lines(subjects: Sequence[Subject], everyday: Sequence[str], folder: Path) -> UserLines:
    intents = Intents(subjects, wordings(subjects, ["Anna"], 1), folder, 1)
    return UserLines(subjects, everyday, intents.guess(embed(everyday, folder), folder), intents, 0.7, 1.0)


def test_a_line_has_the_intent_whose_wordings_mean_nearly_the_same(tmp_path: Path) -> None:
    intents = Intents(SUBJECTS, wordings(SUBJECTS, ["Anna"], 1), tmp_path, 1)

    found = intents.guess(embed(["my cat sleeps", "want soup"], tmp_path), tmp_path)

    assert [intents.names[i] for i in found.intents[:, 0]] == ["pets.pet_story", "food.hungry"]
    assert (found.chances[:, 0] > found.chances[:, 1]).all()
    np.testing.assert_allclose(found.chances.sum(1), 1, atol=1e-3)
    np.testing.assert_allclose(found.closeness, [2 / 12**0.5, 2 / 6**0.5], atol=1e-3)


def test_a_line_that_may_have_several_intents_has_the_one_that_covers_them(tmp_path: Path) -> None:
    meals = [replace(FOOD, intent=meal, user=Split((f"want {meal}",), ())) for meal in ("soup", "bread", "rice")]
    eating = replace(FOOD, intent="eating", user=Split(("we ate",), ()), covers=tuple(meal.label for meal in meals))
    subjects = (SUBJECTS[0], Subject("food", frozenset(), {}, (*meals, eating)))
    intents = Intents(subjects, wordings(subjects, ["Anna"], 1), tmp_path, 1)

    found = intents.guess(embed(["want soup", "want bread", "want cake"], tmp_path), tmp_path)

    assert [intents.names[i] for i in found.intents[:, 0]] == ["food.soup", "food.bread", "food.eating"]
    np.testing.assert_allclose(found.chances.sum(1), 1, atol=1e-3)


def test_guesses_are_kept_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intents, lines = Intents(SUBJECTS, wordings(SUBJECTS, ["Anna"], 1), tmp_path, 1), embed(["my cat sleeps"], tmp_path)
    first = intents.guess(lines, tmp_path)
    monkeypatch.setattr(Intents, "closeness", None)

    again = intents.guess(lines, tmp_path)

    assert (again.intents == first.intents).all()
    assert (again.chances == first.chances).all()
    assert (again.closeness == first.closeness).all()


def test_slots_of_wordings_are_filled_with_training_values_only() -> None:
    assert {w.text for w in wordings(SUBJECTS, ["Anna"], 1)} == {"my cat is asleep", "the dog barks", "I want soup"}


def test_what_asks_for_a_name_that_has_been_told_is_known_by_no_wording(tmp_path: Path) -> None:
    recall = replace(FOOD, intent="recall", needs_name=True)
    subjects = [*SUBJECTS, Subject("names", frozenset(), {}, (replace(recall, subject="names"),))]
    intents = Intents(subjects, wordings(subjects, ["Anna"], 1), tmp_path, 1)

    closeness = intents.closeness(torch.tensor(embed(["I want soup"], tmp_path).astype(np.float32)))[0]

    assert closeness[intents["names.recall"]] == -1
    assert closeness[intents["food.hungry"]] > 0.99


def test_everyday_lines_stand_in_for_wordings_only_where_they_mean_the_same(tmp_path: Path) -> None:
    everyday = ["i want soup", "i want soup now", "the weather is grey"] * 5
    lines, random = _lines(SUBJECTS, everyday, tmp_path), Random(3)

    assert lines.sizes == {"food.hungry": 10}
    assert {lines.draw(FOOD, random) for _ in range(50)} == {"i want soup", "i want soup now"}
    assert {lines.draw(PETS, random) for _ in range(50)} == {"my cat is asleep", "the {pet} barks"}


@pytest.mark.parametrize(
    "exchange", [replace(FOOD, after=("menu",)), replace(FOOD, reply=Split(("Soup for {pet}.",), ()))]
)
def test_no_everyday_line_stands_for_what_follows_something_or_is_answered_with_a_copy(
    exchange: Exchange, tmp_path: Path
) -> None:
    subjects = [Subject("food", frozenset(), {"pet": Split(("dog",), ())}, (exchange,))]

    assert _lines(subjects, ["i want soup"] * 10, tmp_path).sizes == {}


def test_lines_that_are_held_out_are_told_in_any_case_and_punctuation() -> None:
    assert unlike(["Why not?", "hello", "why, not"], ["WHY NOT", "bye"]) == [1]
