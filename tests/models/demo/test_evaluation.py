"""The held-out prompts are held out, and the judgements are of them and complete."""

from pathlib import Path

import pytest
import yaml

from models.demo.config import DIALOGUES, EVALUATION
from models.demo.dialogues import Exchange, Split, Subject, load_subjects, words
from models.demo.heldout import copies, load_heldout, trained
from models.demo.judge import UNREAD, figures, keep_verdicts

JUDGED = [*sorted(EVALUATION.glob("judgements*.yaml")), EVALUATION / "baseline.yaml"]
# Second turns that leave no choice of words.
SHORT = {"really?", "and you?", "No", "why?", "yeah", "i don't know"}
HELDOUT = load_heldout(EVALUATION)


def test_no_held_out_prompt_is_a_training_wording() -> None:
    assert set(trained(load_subjects(DIALOGUES), HELDOUT.lines)) <= SHORT


def test_a_training_wording_is_recognised_with_its_slots_filled_in_any_case_and_punctuation() -> None:
    slots = {"pet": Split(("cat", "guinea pig"), ("snake",))}
    lines = ("my {pet} sleeps", "hello there, I am {name} and I am new here")
    exchange = Exchange("pets", "sleeps", Split(lines, ()), Split((), ()))
    subject = Subject("pets", frozenset(), slots, (exchange,))

    asked = ["My guinea pig sleeps!", "Hello there I am Zoe and i am new here", "my snake sleeps", "my sleeps"]

    assert trained((subject,), asked) == asked[:2]


def test_no_two_held_out_prompts_are_the_same() -> None:
    spoken = [" ".join(words(prompt.text)) for prompt in HELDOUT.prompts]

    assert (len(spoken), len(set(spoken))) == (120, 120)


def test_most_dialogues_tell_a_name_and_ask_for_it() -> None:
    named = [script for script in HELDOUT.scripts if script.name]

    assert (len(HELDOUT.scripts), len(named)) == (40, 30)
    assert all(script.name and script.name.lower() in script.lines[0].lower() for script in named)


@pytest.mark.parametrize("path", JUDGED, ids=lambda path: path.stem)
def test_judgements_are_of_the_prompts_and_dialogues_in_their_order(path: Path) -> None:
    judged = yaml.safe_load(path.read_text())

    assert [turn["user"] for turn in judged["prompts"]] == [prompt.text for prompt in HELDOUT.prompts]
    assert [[turn["user"] for turn in turns] for turns in judged["dialogues"]] == [
        list(s.lines) for s in HELDOUT.scripts
    ]


@pytest.mark.parametrize("path", JUDGED, ids=lambda path: path.stem)
def test_every_reply_has_been_read(path: Path) -> None:
    assert figures(yaml.safe_load(path.read_text()), HELDOUT)["unread"] == 0


def test_a_verdict_is_kept_only_where_all_that_was_said_before_is_the_same() -> None:
    old = {
        "prompts": [_turn("hi", "Hello.", "fits")],
        "dialogues": [[_turn("a", "b", "fits"), _turn("c", "d", "misses")]],
    }
    new = {"prompts": [_turn("hi", "Hello.")], "dialogues": [[_turn("a", "other"), _turn("c", "d")]]}

    kept = keep_verdicts(new, old)

    assert kept["prompts"][0]["verdict"] == "fits"
    assert [turn["verdict"] for turn in kept["dialogues"][0]] == [UNREAD, UNREAD]


def test_a_reply_copies_when_most_of_it_or_of_the_message_is_one_run_of_words() -> None:
    assert copies("You say that my cat is ill today", "my cat is ill today")
    assert not copies("A cat that is ill needs rest and water", "my cat is ill today")


def _turn(user: str, bot: str, verdict: str = UNREAD) -> dict[str, str]:
    return {"user": user, "bot": bot, "verdict": verdict}
