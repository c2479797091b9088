"""Trains the demo model from scratch, or goes on where that was interrupted: `python -m models.demo.train`."""

import argparse
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from tqdm import tqdm

from models.demo.batches import bucketed, collate, marks
from models.demo.config import CHECKPOINT, RUN, Stage, TrainingConfig
from models.demo.conversations import Sample
from models.demo.course import Course
from models.demo.dialogues import Subject
from models.demo.material import Material
from models.demo.model import lend_meanings, new_model, save_checkpoint
from models.demo.scoring import score
from models.demo.student import Student, Talk
from models.demo.tokenizer import share_of_tokens


def train(config: TrainingConfig) -> None:
    """Trains as `config` says and writes the checkpoint."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    material = Material.gather(config)
    for group, which in (("held-out", material.names.heldout), ("training", material.names.train)):
        shares = share_of_tokens(material.tokenizer, which)
        print(f"{group} names in 1, 2, 3+ tokens:", ", ".join(f"{share:.1%}" for share in shares.values()))
    student = _new_student(config, material)
    state = config.run / "state.pt"
    if state.exists():
        student.load(state)
        print(f"goes on after step {student.step}")
    course = Course.of(material, config, config.seed + student.step)
    _learn_words(config, student, course)
    _learn_meanings(config, student, course)
    _learn_replies(config, student, course)
    print(f"held-out exchanges: {_heldout(material.subjects):,}")
    shutil.rmtree(config.run, ignore_errors=True)


def _new_student(config: TrainingConfig, material: Material) -> Student:
    tokens, intents = material.tokenizer.vocab_size, len(material.intents.names)
    model = new_model(config, tokens, material.name_kinds)
    lend_meanings(model, list(material.words), torch.tensor(material.word_meanings.astype("float32")))
    model.set_attn_implementation("eager")
    print(f"{model.num_parameters():,} parameters, {tokens:,} tokens, {intents} intents")
    return Student(config, model, intents)


def _learn_words(config: TrainingConfig, student: Student, course: Course) -> None:
    def learn() -> dict[str, float]:
        return student.learn_words(course.lessons.draw(config.words.batch, 0.0))

    _learn(config, student, "words", config.words, learn)


def _learn_meanings(config: TrainingConfig, student: Student, course: Course) -> None:
    talks = _talks(course, bucketed(course.sampler.samples(), config.talks, config.pool, config.seed))

    def learn() -> dict[str, float]:
        return student.learn_meanings(course.lessons.draw(config.lessons.batch, config.context), next(talks))

    _learn(config, student, "meanings", config.lessons, learn)


def _learn_replies(config: TrainingConfig, student: Student, course: Course) -> None:
    done = student.step - config.begin(config.replies)
    talks = _talks(course, _batches(config, course.sampler.samples(), done))

    def learn() -> dict[str, float]:
        lesson = course.lessons.draw(config.further_lessons, config.context)
        return student.learn_replies(next(talks), lesson, partial(course.answers.to, lesson), course.answers.tokens)

    _learn(config, student, "replies", config.replies, learn, partial(_show, config, student, course))


def _learn(
    config: TrainingConfig,
    student: Student,
    label: str,
    stage: Stage,
    learn: Callable[[], dict[str, float]],
    show: Callable[[], str] | None = None,
) -> None:
    """The rest of a stage, kept and shown from time to time."""
    begin = config.begin(stage)
    last = begin + stage.steps
    if student.step >= last:
        return
    bar = tqdm(total=stage.steps, initial=student.step - begin, desc=label, mininterval=5)
    smooth = _Smooth()
    while student.step < last:
        bar.set_postfix(smooth.add(learn()), refresh=False)
        bar.update()
        if show and (student.step % config.evaluate_every == 0 or student.step == last):
            bar.write(show())
        if student.step % config.keep_every == 0 or student.step == last:
            student.save(config.run / "state.pt")
    bar.close()


def _show(config: TrainingConfig, student: Student, course: Course) -> str:
    """Writes the checkpoint; says how well held-out lines are answered."""
    pad, start = course.tokenizer.pad_token_id, student.model.config.decoder_start_token_id
    student.model.eval()
    found = {label: score(student.model, group, pad, start) for label, group in course.checks.items()}
    save_checkpoint(student.model, course.tokenizer, config.output)
    shown = "; ".join(f"{label} {s.perplexity:.2f} (top-1 {s.top1:.1%})" for label, s in found.items())
    return f"step {student.step}: held-out perplexity of {shown}"


def _talks(course: Course, batches: Iterator[list[Sample]]) -> Iterator[Talk]:
    for drawn in batches:
        batch = collate(drawn, course.tokenizer.pad_token_id, course.tokenizer.bos_token_id)
        yield Talk(
            batch,
            torch.tensor([course.intents[sample.intent] for sample in drawn]),
            own_names=marks([sample.own_name for sample in drawn]),
            names_said=marks([sample.name_said for sample in drawn]),
            copied=marks([sample.copied for sample in drawn]),
            deciding=marks([course.deciding.marks(sample.labels) for sample in drawn]),
        )


def _batches(config: TrainingConfig, samples: Iterator[Sample], done: int) -> Iterator[list[Sample]]:
    short = (sample for sample in samples if len(sample.input_ids) <= config.short_input)
    size = config.replies.batch
    return chain(
        islice(bucketed(short, size, config.pool, config.seed), max(0, config.short_steps - done)),
        bucketed(samples, size, config.pool, config.seed),
    )


class _Smooth:
    """Running means of what the bar shows."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, found: dict[str, float]) -> dict[str, str]:
        for name, value in found.items():
            self._means[name] = 0.98 * self._means.get(name, value) + 0.02 * value
        return {name: f"{mean:.3f}" for name, mean in self._means.items()}


def _heldout(subjects: Iterable[Subject]) -> int:
    """How many pairs of a held-out user line and a held-out reply there are."""
    return sum(len(e.user.heldout) * len(e.reply.heldout) for s in subjects for e in s.exchanges)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.demo.train", description=__doc__)
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--run", type=Path, default=RUN, help="folder that an interrupted run goes on from")
    parser.add_argument("--threads", type=int, default=TrainingConfig.threads)
    arguments = parser.parse_args()
    try:
        train(replace(TrainingConfig(), **vars(arguments)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
