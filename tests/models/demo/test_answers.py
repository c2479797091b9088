"""Any line can be answered, once somebody has said which intent it has."""

import torch
from torch.nn.functional import normalize

from models.demo.answers import Answers
from models.demo.batches import IGNORED
from models.demo.deciding import Deciding
from models.demo.lessons import Lesson
from models.demo.teacher import WIDTH

PAD, START, END = 0, 1, 2
MEANINGS = normalize(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)), dim=1)
SHORT, LONG, OTHER = (*range(100, 120), END), (*range(130, 155), END), (*range(160, 180), END)
REPLIES: dict[int, tuple[list[tuple[int, ...]], torch.Tensor]] = {
    0: ([SHORT, LONG], MEANINGS[:2]),
    1: ([OTHER], MEANINGS[2:]),
}


def _lesson(ids: list[list[int]], meanings: torch.Tensor) -> Lesson:
    longest = max(map(len, ids))
    padded = torch.tensor([[*line, *[PAD] * (longest - len(line))] for line in ids])
    return Lesson(padded, (padded != PAD).long(), meanings, torch.zeros(len(ids), 1).long(), torch.ones(len(ids), 1))


def _answers() -> Answers:
    return Answers(REPLIES, Deciding([SHORT, LONG, OTHER]), PAD, START, 7)


def test_each_line_gets_the_reply_of_its_intent_that_is_closest_in_meaning() -> None:
    lesson = _lesson([[20, END], [21, 22, END], [23, END]], MEANINGS)

    talk = _answers().to(lesson, torch.tensor([0, 0, 1]))

    fill = len(LONG) - len(SHORT)
    assert talk.batch["labels"].tolist() == [[*SHORT, *[IGNORED] * fill], [*LONG], [*OTHER, *[IGNORED] * fill]]
    assert talk.batch["decoder_input_ids"].tolist() == [
        [START, *SHORT, *[PAD] * (fill - 1)],
        [START, *LONG[:-1]],
        [START, *OTHER, *[PAD] * (fill - 1)],
    ]
    assert talk.intents.tolist() == [0, 0, 1]
    assert torch.equal(talk.batch["input_ids"], lesson.input_ids)
    assert not talk.own_names.any()
    assert talk.copied.shape == talk.names_said.shape == talk.batch["labels"].shape
    assert not talk.copied.any()
    assert talk.deciding.sum(1).tolist() == [1, 1, 1]
    assert talk.deciding[:, 0].all()


def test_lines_of_an_intent_that_needs_a_value_are_left_out() -> None:
    talk = _answers().to(_lesson([[20, END], [21, END]], MEANINGS[:2]), torch.tensor([5, 1]))

    assert talk.intents.tolist() == [1]
    assert talk.batch["input_ids"].tolist() == [[21, END]]


def test_no_reply_says_three_tokens_of_the_line_back() -> None:
    talk = _answers().to(_lesson([[160, 161, END], [20, 160, 161, 162, END]], MEANINGS[:2]), torch.tensor([1, 1]))

    assert talk.batch["input_ids"].tolist() == [[160, 161, END, PAD, PAD]]


def test_tokens_decide_as_long_as_replies_that_begin_alike_go_on_differently() -> None:
    deciding = Deciding([(1, 2, 3, 4), (1, 2, 5, 4), (6, 7)])

    assert deciding.marks((1, 2, 3, 4)) == (True, False, True, False)
    assert deciding.marks((6, 7)) == (True, False)
    assert deciding.marks((8, 9)) == (True, False)
