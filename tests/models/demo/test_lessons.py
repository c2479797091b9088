"""Lessons are lines as people write them, with what the teacher says of the last one."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from models.demo.config import CHECKPOINT
from models.demo.lessons import Lesson, Lessons, Source
from models.demo.meaning import Guesses
from models.demo.teacher import WIDTH
from models.demo.wording import Rewording

TEXTS = ("my cat sleeps all day on the sofa", "I want {soup}", "what is the weather like today")
MEANINGS = np.eye(len(TEXTS), WIDTH, dtype=np.float16)
GUESSES = Guesses(
    np.array([[0, 1], [1, 0], [2, 1]], np.int16),
    np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], np.float16),
    np.array([0.9, 0.8, 0.7], np.float16),
)


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    return Lessons([Source(TEXTS, MEANINGS, GUESSES, 1.0)], tokenizer, Rewording(["soup", "cat"]), 7)


def _texts(lesson: Lesson) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    return [
        tokenizer.decode(ids[seen.bool()], skip_special_tokens=True)
        for ids, seen in zip(lesson.input_ids, lesson.attention_mask, strict=True)
    ]


def test_each_line_stands_beside_its_own_meaning_and_intents(lessons: Lessons) -> None:
    lesson = lessons.draw(40, 0.0)

    for text, meaning, intents in zip(_texts(lesson), lesson.meanings, lesson.intents, strict=True):
        number = int(meaning.argmax())
        shared = {word.lower() for word in text.replace(".", " ").split()} & set(TEXTS[number].lower().split())
        assert shared or "soup" in text
        assert intents.tolist() == GUESSES.intents[number].tolist()
    assert (lesson.likely[:, 0] > lesson.likely[:, 1]).all()
    torch.testing.assert_close(lesson.likely.sum(1), torch.ones(40), atol=1e-3, rtol=0)


def test_lines_have_others_before_them_only_where_that_is_asked_for(lessons: Lessons) -> None:
    alone, after_others = lessons.draw(60, 0.0), lessons.draw(61, 1.0)

    assert after_others.attention_mask.sum(1).float().mean() > 1.6 * alone.attention_mask.sum(1).float().mean()
    assert not any("{" in text for text in _texts(alone) + _texts(after_others))
