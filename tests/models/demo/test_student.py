"""A student learns, keeps its state, and goes on from it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers.modeling_outputs import BaseModelOutput

from models.demo.answers import Beginnings
from models.demo.batches import IGNORED
from models.demo.config import Stage, TrainingConfig
from models.demo.lessons import Lesson
from models.demo.model import lend_meanings, new_model
from models.demo.student import Student, Talk, at, copy_loss, end_states, focus_loss, rate
from models.demo.teacher import WIDTH

SMALL = replace(
    TrainingConfig(),
    d_model=32,
    heads=2,
    encoder_ffn=64,
    decoder_ffn=64,
    encoder_layers=2,
    decoder_layers=1,
    warmup=2,
    words=Stage(10, 8, 3e-3),
    lessons=Stage(10, 8, 1e-3),
    replies=Stage(10, 4, 1e-3, 0.1),
)
VOCABULARY = 40
INTENTS = 2
# Tokens that replies hold, in no order.
CHOICES = torch.tensor([30, 7, 12, 25, 9, 33, 18, 4, 21, 38, 15, 28])
ROWS = torch.tensor([0, 1, 3])
BEGINNINGS = Beginnings(
    ROWS,
    before=torch.tensor([[1, 7, 12], [1, 30, 0], [1, 7, 18]]),
    labels=torch.tensor([[7, 12, 25], [30, 9, IGNORED], [7, 18, 4]]),
    deciding=torch.tensor([[True, True, True], [True, True, False], [True, False, True]]),
)


@pytest.fixture
def student() -> Student:
    return _student()


def _student(intents: int = INTENTS, config: TrainingConfig = SMALL) -> Student:
    torch.manual_seed(0)
    model = new_model(config, VOCABULARY, ([4, 5], [6]))
    model.set_attn_implementation("eager")
    return Student(config, model, intents)


def _lesson() -> Lesson:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(4, VOCABULARY, (8, 6), generator=random)
    meanings = normalize(torch.randn(8, WIDTH, generator=random), dim=1)
    high = (meanings[:, :1] > 0).long()
    return Lesson(ids, torch.ones_like(ids), meanings, torch.cat([high, 1 - high], 1), torch.tensor([[0.9, 0.1]] * 8))


def _talk() -> Talk:
    ids = torch.randint(4, VOCABULARY, (4, 7), generator=torch.Generator().manual_seed(2))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids, "labels": ids}
    return Talk(
        batch, torch.tensor([0, 1, 0, 1]), own_names=ids < 10, names_said=ids < 10, copied=ids < 10, deciding=ids > 30
    )


def test_the_encoder_comes_closer_to_what_the_teacher_says(student: Student) -> None:
    found = [student.learn_words(_lesson())["cosine"] for _ in range(10)]

    assert found[-1] > found[0] + 0.05


def test_words_are_learnt_without_the_layers_before_the_last(student: Student) -> None:
    before = [weight.clone() for weight in student.model.model.encoder.layers[0].parameters()]

    student.learn_words(_lesson())

    assert all(map(torch.equal, before, student.model.model.encoder.layers[0].parameters()))


def test_the_layers_before_the_last_begin_by_changing_nothing(student: Student) -> None:
    encoder, lesson = student.model.model.encoder.eval(), _lesson()

    whole, last = (end_states(encoder, lesson.input_ids, lesson.attention_mask, skipped) for skipped in (0, 1))

    torch.testing.assert_close(whole, last)


def test_the_state_at_the_end_is_that_of_the_whole_encoder(student: Student) -> None:
    for _ in range(3):
        student.learn_meanings(_lesson(), _talk())
    encoder, ids = student.model.model.encoder.eval(), _lesson().input_ids
    seen = (torch.arange(ids.shape[1]) < torch.tensor([6, 3, 1, 5, 6, 2, 4, 6])[:, None]).long()

    states = encoder(input_ids=ids, attention_mask=seen).last_hidden_state

    torch.testing.assert_close(end_states(encoder, ids, seen), states[torch.arange(8), seen.sum(1) - 1])


def test_lessons_teach_names_and_intents_and_leave_the_decoder_as_it_is(student: Student) -> None:
    before = student.model.model.decoder.layers[0].fc1.weight.clone()

    losses = [student.learn_meanings(_lesson(), _talk()) for _ in range(8)]

    assert losses[-1]["name"] < losses[0]["name"]
    assert losses[-1]["intent"] < losses[0]["intent"]
    assert torch.equal(before, student.model.model.decoder.layers[0].fc1.weight)


def test_replies_are_learnt_in_talks_and_to_single_lines_beside_lessons(student: Student) -> None:
    student.step = SMALL.begin(SMALL.replies)
    losses = [_learn_replies(student) for _ in range(30)]

    for loss in ("line", "talk", "intent", "name", "copy", "focus", "spelling"):
        assert 0 < sum(step[loss] for step in losses[-10:]) < sum(step[loss] for step in losses[:10]), loss
    assert losses[-1]["cosine"] > losses[0]["cosine"]


def test_lines_are_answered_from_the_state_at_the_end_alone_the_surer_the_more() -> None:
    exact = _student(config=replace(SMALL, bfloat16=False))
    exact.step = SMALL.begin(SMALL.replies)
    seen = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 6, [1] * 5 + [0], *[[1] * 6] * 4])
    lesson = replace(_lesson(), attention_mask=seen)
    exact.model.eval()
    states = exact.model.model.encoder(input_ids=lesson.input_ids, attention_mask=seen).last_hidden_state
    ends = states[torch.arange(8), seen.sum(1) - 1]
    sure, likeliest = exact._judge(ends).softmax(1).max(1)
    wrong = _wrong(exact, ends[ROWS, None], BEGINNINGS)
    counts = torch.where(BEGINNINGS.deciding, SMALL.deciding_weight, 1.0)
    expected = (counts * sure[ROWS, None] * wrong)[BEGINNINGS.labels != IGNORED].sum()
    expected = expected / counts[BEGINNINGS.labels != IGNORED].sum()
    asked = []

    def answers(intents: torch.Tensor) -> Beginnings:
        asked.append(intents)
        return BEGINNINGS

    learnt = exact.learn_replies(_talk(), lesson, answers, CHOICES)["line"]

    assert torch.equal(asked[0], likeliest)
    assert learnt == pytest.approx(expected.item(), abs=1e-5)


def _wrong(student: Student, states: torch.Tensor, said: Beginnings) -> torch.Tensor:
    """The loss of each label where the decoder reads `states` and chooses from `CHOICES` alone."""
    written = student.model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=torch.ones(len(states), 1, dtype=torch.int64),
        decoder_input_ids=said.before,
    )
    barred = torch.full((VOCABULARY,), -torch.inf).index_fill(0, CHOICES, 0.0)
    return cross_entropy((written.logits + barred).transpose(1, 2), said.labels, reduction="none")


def _learn_replies(student: Student) -> dict[str, float]:
    return student.learn_replies(_talk(), _lesson(), lambda _: BEGINNINGS, CHOICES)


def test_replies_that_look_elsewhere_than_at_the_end_are_at_fault() -> None:
    talk = _talk()
    seen = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 7, [1] * 5 + [0] * 2])
    talk = replace(talk, batch={**talk.batch, "attention_mask": seen}, copied=torch.zeros(4, 7, dtype=torch.bool))
    at_the_end = torch.zeros(4, 2, 7, 7)
    at_the_end[torch.arange(4), :, :, seen.sum(1) - 1] = 1.0

    assert focus_loss([at_the_end], talk).abs() < 1e-3
    assert focus_loss([at_the_end.roll(1, -1)], talk) > 5


def test_what_is_copied_may_be_looked_for_anywhere() -> None:
    talk = replace(_talk(), copied=torch.ones(4, 7, dtype=torch.bool))
    talk.copied[:, 3] = False
    at_the_beginning, at_the_end = torch.zeros(4, 2, 7, 7), torch.zeros(4, 2, 7, 7)
    at_the_beginning[..., 0], at_the_end[..., -1] = 1.0, 1.0
    both = torch.where(talk.copied[:, None, :, None], at_the_beginning, at_the_end)

    assert focus_loss([both], talk).abs() < 1e-3


def test_copies_of_a_name_that_look_elsewhere_are_at_fault() -> None:
    talk = _talk()
    own = torch.eye(7).expand(4, 2, 7, 7)

    assert talk.own_names.any()
    assert copy_loss(own, talk).abs() < 1e-3
    assert copy_loss(own.roll(1, -1), talk) > 5
    assert copy_loss(own, replace(talk, names_said=torch.zeros(4, 7, dtype=torch.bool))) == 0


def test_the_encoder_learns_little_from_replies(student: Student) -> None:
    student.step = SMALL.begin(SMALL.replies)
    layers = student.model.model.encoder.layers[1].fc1.weight, student.model.model.decoder.layers[0].fc1.weight
    before = [weight.detach().clone() for weight in layers]

    _learn_replies(student)

    encoder, decoder = ((new - old).abs().max() for new, old in zip(layers, before, strict=True))
    assert 0 < encoder < 2 * SMALL.replies.encoder_share * decoder


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, first, second = _student(), _student(), _student()
    for pupil, steps in ((whole, 4), (first, 2)):
        _learn_quietly(pupil, steps)
    first.save(tmp_path / "state.pt")
    second.load(tmp_path / "state.pt")
    _learn_quietly(second, 2)

    assert second.step == whole.step == 4
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(weight, second.model.state_dict()[name], msg=name)


def _learn_quietly(student: Student, steps: int) -> None:
    """Steps without dropout, so that the same ones give the same."""
    student.model.eval()
    for _ in range(steps):
        student._update(student._lesson(_lesson())[0])


def test_the_state_of_another_run_is_refused_by_name(tmp_path: Path, student: Student) -> None:
    student.save(tmp_path / "state.pt")

    with pytest.raises(ValueError, match=r"state\.pt is of another training run; remove it"):
        _student(INTENTS + 1).load(tmp_path / "state.pt")


def test_each_stage_warms_up_and_dies_away() -> None:
    rates = [rate(*at(step, SMALL), SMALL.warmup) for step in range(30)]

    for begin, stage in zip((0, 10, 20), SMALL.stages, strict=True):
        assert rates[begin] == pytest.approx(stage.learning_rate / 2)
        assert max(rates[begin : begin + 10]) == pytest.approx(stage.learning_rate)
        assert rates[begin + 9] < 0.1 * stage.learning_rate


def test_words_that_the_teacher_finds_alike_begin_alike() -> None:
    model = new_model(SMALL, VOCABULARY, ([4], [5]))
    random = torch.Generator().manual_seed(3)
    meanings = normalize(torch.randn(20, WIDTH, generator=random), dim=1)
    meanings[1] = normalize(meanings[0] + 0.01 * meanings[2], dim=0)

    lend_meanings(model, range(10, 30), meanings)

    rows = normalize(model.model.shared.weight.detach(), dim=1)
    assert rows[10] @ rows[11] > 0.95
    assert abs(rows[10] @ rows[15]) < 0.5
