"""The dialogues keep their rules, and the rules find what breaks them."""

from dataclasses import replace

import pytest

from models.demo.config import DIALOGUES
from models.demo.dialogues import Exchange, Split, Subject, load_subjects, problems, with_one_reply, without_overlap

SUBJECTS = load_subjects(DIALOGUES)


def test_the_dialogues_break_no_rule() -> None:
    assert list(problems(SUBJECTS)) == []


def test_every_held_out_line_and_reply_is_unlike_the_training_ones() -> None:
    assert without_overlap(SUBJECTS) == SUBJECTS


def test_there_are_enough_intents_each_said_in_many_ways() -> None:
    exchanges = [exchange for subject in SUBJECTS for exchange in subject.exchanges]

    assert len(exchanges) >= 450
    assert min(len(exchange.user.train + exchange.user.heldout) for exchange in exchanges) >= 20


def test_no_reply_answers_two_intents() -> None:
    replies = [line for s in SUBJECTS for e in s.exchanges for line in e.reply.train + e.reply.heldout]

    assert len(replies) == len(set(replies))


def test_one_reply_is_learnt_to_each_intent_and_it_copies_nothing_where_it_need_not() -> None:
    exchanges = [e for s in with_one_reply(SUBJECTS) for e in s.exchanges if not e.about_name]

    assert {len(e.reply.train) for e in exchanges} == {1}
    assert {e.intent for e in exchanges if "{" in e.reply.train[0]} == {"what_is_pets_name", "who_is_person"}


def test_all_replies_are_learnt_where_the_users_name_is_told_or_asked_for() -> None:
    before, after = (
        [e for s in group for e in s.exchanges if e.about_name] for group in (SUBJECTS, with_one_reply(SUBJECTS))
    )

    assert len(before) > 2
    assert after == before


@pytest.mark.parametrize(
    ("train", "reported"), [(("A {pet}!", "Really?"), True), (("Really?", "A {pet}!"), False), (("A {pet}!",), False)]
)
def test_a_reply_to_learn_that_copies_is_reported_where_another_does_not(
    train: tuple[str, ...], reported: bool
) -> None:
    made = _subject("pets", "my {pet} barks")
    exchange = replace(made.exchanges[0], reply=Split(train, ()))

    found = list(problems((replace(made, exchanges=(exchange,)),)))

    assert (f"pets.{exchange.intent}: the reply to learn holds a slot, and another does not" in found) == reported


def test_no_line_names_a_slot_that_its_subject_lacks() -> None:
    for subject in SUBJECTS:
        values = {slot: split.train[0] for slot, split in subject.slots.items()} | {"name": "Max"}
        for exchange in subject.exchanges:
            for line in exchange.user.heldout + exchange.reply.heldout:
                line.format_map(values)


@pytest.mark.parametrize("again", ["Tea or coffee?", "tea or coffee", "TEA OR COFFEE"])
def test_a_wording_of_two_intents_is_reported_whatever_its_case_and_punctuation(again: str) -> None:
    drinks = _subject("drinks", "Tea or coffee?")
    meals = _subject("meals", again)

    assert [p for p in problems((drinks, meals)) if "also a line" in p] == [
        f"meals.choice: also a line of drinks.choice: {again}"
    ]


@pytest.mark.parametrize(
    ("covers", "reported"),
    [
        (("pets.choice",), None),
        (("pets.none",), "an unknown intent pets.none"),
        (("wide.choice",), "wide.choice, which covers others"),
        (("meals.choice",), "meals.choice, as other.choice does"),
    ],
)
def test_an_intent_is_covered_once_and_by_one_that_is_not_covered(
    covers: tuple[str, ...], reported: str | None
) -> None:
    pets, meals = _subject("pets", "a dog"), _subject("meals", "a soup")
    wide, other = (
        replace(made, exchanges=(replace(made.exchanges[0], covers=covered),))
        for made, covered in ((_subject("wide", "anything"), covers), (_subject("other", "else"), ("meals.choice",)))
    )

    found = [problem for problem in problems((pets, meals, other, wide)) if "covers" in problem]

    assert found == ([f"wide.choice: covers {reported}"] if reported else [])


def test_wordings_that_differ_in_a_slot_or_mean_an_untold_name_are_not_the_same() -> None:
    asked = _subject("names", "What is my name?")
    (exchange,) = asked.exchanges
    untold = replace(asked, exchanges=(replace(exchange, intent="untold", no_name=True),))

    assert not [p for p in problems((asked, untold)) if "also a line" in p]
    assert not [p for p in problems((_subject("a", "{pet}?"), _subject("b", "{dish}?"))) if "also a line" in p]


def _subject(name: str, line: str) -> Subject:
    exchange = Exchange(name, "choice", Split((line,), ()), Split((), ()))
    return Subject(name, frozenset(), {}, (exchange,))
