"""Talks mark the user's own name, once it was told, and no other."""

from itertools import islice

import pytest
from transformers import AutoTokenizer

from models.demo.config import CHECKPOINT, DIALOGUES, NAMES
from models.demo.conversations import ConversationSampler, Sample, runs_of
from models.demo.dialogues import load_subjects
from models.demo.names import NameSampler, find_pieces, load_names

TOKENIZER = AutoTokenizer.from_pretrained(CHECKPOINT)
SUBJECTS = load_subjects(DIALOGUES)


@pytest.fixture(scope="module")
def names() -> NameSampler:
    read = load_names(NAMES)
    return NameSampler(read, find_pieces(read.train))


@pytest.fixture(scope="module")
def samples(names: NameSampler) -> list[Sample]:
    return list(islice(ConversationSampler(SUBJECTS, names, TOKENIZER, 3).samples(), 1600))


def test_the_name_that_is_asked_for_is_marked_where_it_was_told(samples: list[Sample]) -> None:
    recalls = [sample for sample in samples if sample.intent == "names.recall"]

    assert len(recalls) > 20
    for sample in recalls:
        marked = [i for i, own in zip(sample.input_ids, sample.own_name, strict=True) if own]
        name = TOKENIZER.decode(marked).split()[0]
        assert name in sample.reply.replace("'", " ")


def test_names_of_others_are_not_marked(names: NameSampler) -> None:
    subjects = [subject for subject in SUBJECTS if subject.name != "names"]
    samples = islice(ConversationSampler(subjects, names, TOKENIZER, 3).samples(), 1600)
    others = [sample for sample in samples if sample.intent.startswith("other_names.")]

    assert len(others) > 20
    assert not any(any(sample.own_name) for sample in others)


def test_the_name_that_a_reply_says_is_marked(samples: list[Sample]) -> None:
    named = [sample for sample in samples if sample.intent in ("names.introduce", "names.recall")]

    assert len(named) > 40
    for sample in named:
        told = TOKENIZER.decode([i for i, own in zip(sample.input_ids, sample.own_name, strict=True) if own])
        said = TOKENIZER.decode([i for i, name in zip(sample.labels, sample.name_said, strict=True) if name])
        assert set(said.split()) == {told.split()[0]}
        assert sample.copied == sample.name_said


def test_other_values_that_a_reply_copies_are_marked_and_nothing_else(samples: list[Sample]) -> None:
    values = {value for subject in SUBJECTS for slot in subject.slots.values() for value in slot.train}
    others = [sample for sample in samples if any(sample.copied) and not any(sample.name_said)]

    assert len(others) > 10
    for sample in others:
        copied = TOKENIZER.decode([i for i, c in zip(sample.labels, sample.copied, strict=True) if c])
        for value in sorted(values, key=len, reverse=True):
            copied = copied.replace(f" {value}", "")
        assert not copied


def test_a_name_may_be_told_in_passing(samples: list[Sample]) -> None:
    passing = [sample for sample in samples if sample.turns == 1 and any(sample.own_name) and not any(sample.name_said)]

    assert len(passing) > 10
    for sample in passing:
        told = TOKENIZER.decode([i for i, own in zip(sample.input_ids, sample.own_name, strict=True) if own])
        assert told.split()[0] in sample.user
        assert len(sample.user.split()) > len(told.split())


def test_only_whole_runs_count() -> None:
    assert runs_of([(1, 2)], (1, 2, 3, 1, 3, 2, 1, 2)) == (True, True, False, False, False, False, True, True)
    assert runs_of([(1,), (2, 3)], (1, 2, 3, 2)) == (True, True, True, False)
    assert runs_of([], (1, 2)) == (False, False)
