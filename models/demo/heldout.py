"""The held-out prompts and dialogues: what a user says to the model that is judged by reading."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.demo.dialogues import WORD, Subject, words


@dataclass(frozen=True)
class Prompt:
    """One message with nothing before it; `beyond` where a small bot cannot know the answer."""

    text: str
    beyond: bool = False


@dataclass(frozen=True)
class Script:
    """What a user says in one dialogue; where `name` is given, the first line tells it and the last asks for it."""

    lines: tuple[str, ...]
    name: str | None = None


@dataclass(frozen=True)
class HeldOut:
    """All that the model is asked."""

    prompts: tuple[Prompt, ...]
    scripts: tuple[Script, ...]

    @property
    def lines(self) -> Iterator[str]:
        yield from (prompt.text for prompt in self.prompts)
        yield from (line for script in self.scripts for line in script.lines)


def load_heldout(folder: Path) -> HeldOut:
    """What `prompts.yaml` and `dialogues.yaml` in `folder` hold."""
    prompts = yaml.safe_load((folder / "prompts.yaml").read_text())["prompts"]
    scripts = yaml.safe_load((folder / "dialogues.yaml").read_text())["dialogues"]
    return HeldOut(
        tuple(Prompt(**prompt) if isinstance(prompt, dict) else Prompt(prompt) for prompt in prompts),
        tuple(Script(tuple(script["lines"]), script.get("name")) for script in scripts),
    )


def trained(subjects: tuple[Subject, ...], lines: Iterable[str]) -> list[str]:
    """Those of `lines` that are, word for word, a training wording with its slots filled."""
    plain: set[str] = set()
    filled: list[re.Pattern[str]] = []
    for subject in subjects:
        for line in (line for e in subject.exchanges for line in e.user.train):
            if "{" in line:
                filled.append(_filled(line, subject))
            else:
                plain.add(" ".join(words(line)))
    spoken = {line: " ".join(words(line)) for line in lines}
    return [line for line, said in spoken.items() if said in plain or any(form.fullmatch(said) for form in filled)]


def _filled(line: str, subject: Subject) -> re.Pattern[str]:
    """What matches every filling of `line`, in words as `words` has them; a name is any one word."""
    parts = re.split(r"{(\w+)}", line)
    values = {
        slot: "|".join(re.escape(" ".join(words(v))) for v in split.train) for slot, split in subject.slots.items()
    }
    spoken = (
        re.escape(" ".join(words(part))) if place % 2 == 0 else f"(?:{values.get(part, WORD.pattern)})"
        for place, part in enumerate(parts)
    )
    return re.compile(" ?".join(part for part in spoken if part))


def copies(reply: str, said: str) -> bool:
    """Whether one run of words is more than half of `reply`, or of `said` where that has four words or more."""
    ours, theirs = words(reply), words(said)
    longest = 0
    for i in range(len(ours)):
        for j in range(len(theirs)):
            size = 0
            while i + size < len(ours) and j + size < len(theirs) and ours[i + size] == theirs[j + size]:
                size += 1
            longest = max(longest, size)
    return 2 * longest > len(ours) or (len(theirs) >= 4 and 2 * longest > len(theirs))
