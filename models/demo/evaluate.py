"""Talks to the demo model in held-out dialogues and applies the rubric: `python -m models.demo.evaluate`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, BlenderbotTokenizerFast

from models.demo.config import CHECKPOINT, DIALOGUES, FOLDER, NAMES
from models.demo.conversations import ConversationSampler
from models.demo.dialogues import Exchange, Subject, load_subjects, with_one_reply, without_overlap
from models.demo.model import load_model
from models.demo.names import NameSampler, find_pieces, load_names
from models.demo.rubric import on_topic, recalls
from models.demo.scoring import Score, score
from models.demo.tokenizer import encode_history

DIALOGUE_COUNT = 60
SCORED_REPLIES = 400
SEED = 60


@dataclass(frozen=True)
class Script:
    """What the user says in one dialogue: an introduction, a subject, a question for the name."""

    name: str
    subject: str
    lines: tuple[str, str, str]


@dataclass(frozen=True)
class Transcript:
    """One dialogue as it went, with the verdicts on its three replies."""

    script: Script
    replies: tuple[str, ...]
    on_topic: tuple[bool, ...]
    recalled: bool


def scripts(subjects: Sequence[Subject], names: Sequence[str], count: int, seed: int) -> list[Script]:
    """`count` dialogues of held-out lines."""
    random = Random(seed)
    exchanges = [e for s in subjects for e in s.exchanges if e.user.heldout]
    introductions = [e for e in exchanges if e.introduces]
    questions = [e for e in exchanges if e.needs_name]
    free = [e for e in exchanges if e.free and e.subject != "names"]
    slots = {s.name: s.slots for s in subjects}

    def line(exchange: Exchange, name: str) -> str:
        values = {slot: random.choice(split.heldout) for slot, split in slots[exchange.subject].items()}
        return random.choice(exchange.user.heldout).format_map({**values, "name": name})

    made = []
    for _ in range(count):
        name = random.choice(names)
        topic = random.choice(free)
        lines = (line(random.choice(introductions), name), line(topic, name), line(random.choice(questions), name))
        made.append(Script(name, topic.subject, lines))
    return made


def talk(model: Any, tokenizer: BlenderbotTokenizerFast, lines: Sequence[str]) -> tuple[str, ...]:
    """The model's replies to `lines`, each generated with all turns before it as history."""
    turns: list[str] = []
    for line in lines:
        input_ids, _ = encode_history(tokenizer, [*turns, line])
        batch = {"input_ids": torch.tensor([input_ids]), "attention_mask": torch.ones(1, len(input_ids)).long()}
        with torch.no_grad():
            output = model.generate(**batch)
        turns += [line, tokenizer.decode(output[0], skip_special_tokens=True).strip()]
    return tuple(turns[1::2])


def judge(script: Script, replies: tuple[str, ...], lexicons: dict[str, frozenset[str]]) -> Transcript:
    """The rubric's verdicts on a dialogue."""
    wanted = (lexicons["names"] | lexicons["greetings"], lexicons[script.subject], lexicons["names"])
    verdicts = tuple(on_topic(reply, lexicon) for reply, lexicon in zip(replies, wanted, strict=True))
    return Transcript(script, replies, verdicts, recalls(replies[-1], script.name))


def render(transcript: Transcript) -> str:
    """A dialogue as text, one turn a line."""
    lines = []
    for user, reply, good in zip(transcript.script.lines, transcript.replies, transcript.on_topic, strict=True):
        lines += [f"user: {user}", f"bot:  {reply}{'' if good else '   [off topic]'}"]
    if not transcript.recalled:
        lines[-1] += "   [name not recalled]"
    return "\n".join(lines)


def evaluate(folder: Path, transcripts: Path) -> dict[str, Any]:
    """Runs the held-out dialogues and the teacher-forced scores; writes the dialogues to `transcripts`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load_model(folder)
    subjects = without_overlap(load_subjects(DIALOGUES))
    names = load_names(NAMES)
    lexicons = {s.name: s.lexicon for s in subjects}
    plan = scripts(subjects, names.heldout, DIALOGUE_COUNT, SEED)
    done = [judge(s, talk(model, tokenizer, s.lines), lexicons) for s in tqdm(plan, desc="dialogues", unit="dialogue")]

    drawn = NameSampler(names, find_pieces(names.train))
    start = model.config.decoder_start_token_id
    learnt = with_one_reply(subjects)
    scores = {}
    for label, new in (("known", False), ("heldout", True)):
        sampler = ConversationSampler(learnt, drawn, tokenizer, SEED, heldout_users=True, heldout_replies=new)
        scores[label] = score(model, list(islice(sampler.samples(), SCORED_REPLIES)), tokenizer.pad_token_id, start)
    fresh = transcripts.with_suffix(".new")
    fresh.write_text("\n\n".join(map(render, done)) + "\n")
    fresh.replace(transcripts)
    return _figures(done, scores)


def _figures(done: Sequence[Transcript], scores: dict[str, Score]) -> dict[str, Any]:
    verdicts = [good for t in done for good in t.on_topic]
    return {
        "dialogues": len(done),
        "name_recalled": sum(t.recalled for t in done) / len(done),
        "on_topic": sum(verdicts) / len(verdicts),
        "on_topic_by_turn": [sum(t.on_topic[i] for t in done) / len(done) for i in range(3)],
        "heldout_replies": asdict(scores["heldout"]),
        "known_replies_to_heldout_lines": asdict(scores["known"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.demo.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="a checkpoint or an ONNX folder")
    parser.add_argument("--transcripts", type=Path, default=FOLDER / "transcripts.txt", help="file for the dialogues")
    arguments = parser.parse_args()
    if not arguments.model.is_dir():
        parser.error(f"no such folder: {arguments.model}")
    torch.set_num_threads(2)
    print(json.dumps(evaluate(arguments.model, arguments.transcripts), indent=2))


if __name__ == "__main__":
    main()
