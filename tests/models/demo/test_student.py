"""A student learns, keeps its state, and goes on from it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from models.demo.config import TrainingConfig
from models.demo.meaning import Intents
from models.demo.model import lend_meanings, new_model
from models.demo.student import Student, rate
from models.demo.teacher import WIDTH

SMALL = replace(
    TrainingConfig(),
    d_model=32,
    heads=2,
    ffn=64,
    encoder_layers=1,
    decoder_layers=1,
    warmup=2,
    lesson_steps=10,
    steps=10,
)
VOCABULARY = 40


class TwoIntents(Intents):
    """Intents without a teacher: by the sign of the first number."""

    def __init__(self, names: tuple[str, ...] = ("low", "high")) -> None:
        self.names = names

    def soft(self, meanings: Tensor) -> Tensor:
        high = (meanings[:, :1] > 0).float()
        return torch.cat([1 - high, high], 1)


@pytest.fixture
def student() -> Student:
    return _student()


def _student(intents: TwoIntents | None = None) -> Student:
    torch.manual_seed(0)
    model = new_model(SMALL, VOCABULARY, ([4, 5], [6]))
    model.set_attn_implementation("eager")
    return Student(SMALL, model, intents or TwoIntents())


def _lesson() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(4, VOCABULARY, (8, 6), generator=random)
    return ids, torch.ones_like(ids), normalize(torch.randn(8, WIDTH, generator=random), dim=1)


def test_the_encoder_comes_closer_to_what_the_teacher_says(student: Student) -> None:
    found = [student.learn_meanings(*_lesson()) for _ in range(10)]

    assert found[-1] > found[0] + 0.05


def test_lessons_leave_the_decoder_as_it_is(student: Student) -> None:
    before = student.model.model.decoder.layers[0].fc1.weight.clone()

    student.learn_meanings(*_lesson())

    assert torch.equal(before, student.model.model.decoder.layers[0].fc1.weight)


def test_replies_are_learnt_together_with_lessons(student: Student) -> None:
    ids = torch.randint(4, VOCABULARY, (4, 7), generator=torch.Generator().manual_seed(2))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids, "labels": ids}
    names = torch.zeros(VOCABULARY, dtype=torch.bool)
    wanted, plain = torch.tensor([0, 1, 0, 1]), torch.tensor([True, False, True, False])

    losses = [student.learn_replies(batch, wanted, plain, names, _lesson()) for _ in range(8)]

    assert losses[-1]["loss"] < losses[0]["loss"]
    assert losses[-1]["cosine"] > losses[0]["cosine"]


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, first, second = _student(), _student(), _student()
    for pupil, steps in ((whole, 4), (first, 2)):
        torch.manual_seed(5)
        for _ in range(steps):
            pupil.model.eval()
            pupil._update(pupil._lesson(*_lesson())[0])
    first.save(tmp_path / "state.pt")
    second.load(tmp_path / "state.pt")
    for _ in range(2):
        second.model.eval()
        second._update(second._lesson(*_lesson())[0])

    assert second.step == whole.step == 4
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(weight, second.model.state_dict()[name], msg=name)


def test_the_state_of_another_run_is_refused_by_name(tmp_path: Path, student: Student) -> None:
    student.save(tmp_path / "state.pt")

    with pytest.raises(ValueError, match=r"state\.pt is of another training run; remove it"):
        _student(TwoIntents(("low", "high", "third"))).load(tmp_path / "state.pt")


def test_each_stage_warms_up_and_dies_away() -> None:
    shares = [rate(step, SMALL) for step in range(20)]

    assert shares[0] == shares[10] == 0.5
    assert max(shares) <= 1
    assert shares[9] < 0.1
    assert shares[19] < 0.1


def test_words_that_the_teacher_finds_alike_begin_alike() -> None:
    model = new_model(SMALL, VOCABULARY, ([4], [5]))
    random = torch.Generator().manual_seed(3)
    meanings = normalize(torch.randn(20, WIDTH, generator=random), dim=1)
    meanings[1] = normalize(meanings[0] + 0.01 * meanings[2], dim=0)

    lend_meanings(model, range(10, 30), meanings)

    rows = normalize(model.model.shared.weight.detach(), dim=1)
    assert rows[10] @ rows[11] > 0.95
    assert abs(rows[10] @ rows[15]) < 0.5
