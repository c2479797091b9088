"""Any line can be answered, once somebody has said which intent it has."""

import torch

from models.demo.answers import Answers
from models.demo.batches import IGNORED
from models.demo.deciding import Deciding
from models.demo.lessons import Lesson
from models.demo.teacher import WIDTH

PAD, START, END = 0, 1, 2
ONE, LIKE_IT = ((100, 101, *range(begin, begin + 20), END) for begin in (110, 130))
OTHER = (*range(160, 182), END)
REPLIES = {0: ONE, 1: LIKE_IT, 2: OTHER}


def _lesson(*ids: list[int]) -> Lesson:
    longest = max(map(len, ids))
    padded = torch.tensor([[*line, *[PAD] * (longest - len(line))] for line in ids])
    lines = len(ids)
    return Lesson(
        padded, (padded != PAD).long(), torch.zeros(lines, WIDTH), torch.zeros(lines, 1).long(), torch.ones(lines, 1)
    )


def _answers() -> Answers:
    return Answers(REPLIES, Deciding(REPLIES.values()), PAD, START)


def test_each_line_gets_the_beginning_of_the_reply_of_its_intent() -> None:
    said = _answers().to(_lesson([20, END], [21, 22, END], [23, END]), torch.tensor([0, 2, 1]))

    assert said.rows.tolist() == [0, 1, 2]
    assert said.labels.tolist() == [[100, 101, 110], [160, IGNORED, IGNORED], [100, 101, 130]]
    assert said.before.tolist() == [[START, 100, 101], [START, 160, PAD], [START, 100, 101]]
    assert said.deciding.tolist() == [[True, False, True], [True, False, False], [True, False, True]]


def test_lines_of_an_intent_without_such_a_reply_are_left_out() -> None:
    said = _answers().to(_lesson([20, END], [21, END]), torch.tensor([5, 2]))

    assert said.rows.tolist() == [1]
    assert said.labels.tolist() == [[160]]


def test_no_reply_says_three_tokens_of_the_line_back() -> None:
    said = _answers().to(_lesson([160, 161, END], [20, 160, 161, 162, END]), torch.tensor([2, 2]))

    assert said.rows.tolist() == [0]


def test_what_the_beginnings_hold_is_all_that_may_be_chosen() -> None:
    assert _answers().tokens.tolist() == [100, 101, 110, 130, 160]
