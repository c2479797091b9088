"""The dialogues: subjects, their exchanges, and what may be said in them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
SHARED_WORDS = 5
USER_WORDS = range(1, 16)
REPLY_WORDS = range(17, 31)


def words(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation."""
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Split:
    """Lines or slot values, those to train on and those held out."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> "Split":
        return cls(tuple(map(str, data["train"])), tuple(map(str, data.get("heldout", ()))))

    def of(self, heldout: bool) -> tuple[str, ...]:
        return self.heldout if heldout else self.train


@dataclass(frozen=True)
class Exchange:
    """One user intent with its wordings and replies.

    The first training reply is the one to learn: it fits nearly all of the wordings, and holds no slots where it can do
    without. Only of replies about the user's own name all are learnt.

    The reply of an exchange that `covers` others, each named by its label, suits all of them, and answers lines that
    could have any of these intents.
    """

    subject: str
    intent: str
    user: Split
    reply: Split
    after: tuple[str, ...] = ()
    needs_name: bool = False
    no_name: bool = False
    covers: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Unique among all subjects."""
        return f"{self.subject}.{self.intent}"

    @property
    def introduces(self) -> bool:
        """Whether the user tells a name in it."""
        return "{name}" in self.user.train[0]

    @property
    def free(self) -> bool:
        """Whether it makes sense anywhere, with nothing said before."""
        return not (self.after or self.about_name)

    @property
    def about_name(self) -> bool:
        """Whether the user tells or asks for their own name in it."""
        return self.needs_name or self.no_name or self.introduces


@dataclass(frozen=True)
class Subject:
    """A subject, the words that mark a reply as being about it, and its exchanges.

    `follows_anything` marks lines such as "why?", which hardly begin a talk and may follow whatever was said.
    """

    name: str
    lexicon: frozenset[str]
    slots: Mapping[str, Split]
    exchanges: tuple[Exchange, ...]
    follows_anything: bool = False

    def followers(self, exchange: Exchange) -> list[Exchange]:
        return [e for e in self.exchanges if exchange.intent in e.after]


def with_one_reply(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """The dialogues with one training reply to each exchange that has nothing to do with the user's name, so that who
    knows the intent knows the reply."""

    def narrowed(exchange: Exchange) -> Exchange:
        if exchange.about_name:
            return exchange
        return replace(exchange, reply=replace(exchange.reply, train=exchange.reply.train[:1]))

    return tuple(replace(subject, exchanges=tuple(map(narrowed, subject.exchanges))) for subject in subjects)


def load_subjects(folder: Path) -> tuple[Subject, ...]:
    """Every subject under `folder`, sorted by file name."""
    return tuple(_subject(yaml.safe_load(path.read_text())) for path in sorted(folder.glob("*.yaml")))


def _subject(data: Mapping[str, Any]) -> Subject:
    slots = {name: Split.parse(values) for name, values in (data.get("slots") or {}).items() if name != "name"}
    exchanges = tuple(
        Exchange(
            subject=data["subject"],
            intent=e["intent"],
            user=Split.parse(e["user"]),
            reply=Split.parse(e["reply"]),
            after=tuple(e.get("after") or ()),
            needs_name=bool(e.get("needs_name", False)),
            no_name=bool(e.get("no_name", False)),
            covers=tuple(e.get("covers") or ()),
        )
        for e in data["exchanges"]
    )
    lexicon = frozenset(str(word).lower() for word in data["lexicon"])
    follows_anything = bool(data.get("follows_anything", False))
    return Subject(data["subject"], lexicon, MappingProxyType(slots), exchanges, follows_anything)


def user_words(subjects: Iterable[Subject]) -> list[str]:
    """Every word of the user's training lines, sorted."""
    return sorted({w for s in subjects for e in s.exchanges for line in e.user.train for w in words(line)})


def problems(subjects: tuple[Subject, ...]) -> Iterator[str]:
    """One line for each rule that the dialogues break."""
    for subject in subjects:
        intents = {e.intent for e in subject.exchanges}
        for exchange in subject.exchanges:
            where = exchange.label
            counts = (len(exchange.user.train), len(exchange.user.heldout), len(exchange.reply.train))
            if any(have < need for have, need in zip(counts, (16, 4, 3), strict=True)):
                yield f"{where}: too few lines (user, held-out user, replies: {counts})"
            for parent in exchange.after:
                if parent not in intents:
                    yield f"{where}: follows an unknown intent {parent}"
            for line in exchange.user.train + exchange.user.heldout:
                if len(line.split()) not in USER_WORDS:
                    yield f"{where}: user line of {len(line.split())} words: {line}"
            for line in exchange.reply.train + exchange.reply.heldout:
                if len(line.split()) not in REPLY_WORDS:
                    yield f"{where}: reply of {len(line.split())} words: {line}"
                if not subject.lexicon.intersection(words(line)) and "{" not in line:
                    yield f"{where}: no lexicon word: {line}"
            copying = ["{" in reply for reply in exchange.reply.train]
            if any(copying[:1]) and not all(copying):
                yield f"{where}: the reply to learn holds a slot, and another does not"
            for line in exchange.user.train + exchange.reply.train:
                if not line.isascii():
                    yield f"{where}: not ASCII: {line}"
                for slot in re.findall(r"{(\w+)}", line):
                    if slot != "name" and slot not in subject.slots:
                        yield f"{where}: unknown slot {slot}: {line}"
    yield from _covered(subjects)
    yield from _shared_wordings(subjects)


def _covered(subjects: tuple[Subject, ...]) -> Iterator[str]:
    """One line for each intent that is covered and should not be."""
    exchanges = {e.label: e for subject in subjects for e in subject.exchanges}
    covering: dict[str, str] = {}
    for where, exchange in exchanges.items():
        for covered in exchange.covers:
            if covered not in exchanges:
                yield f"{where}: covers an unknown intent {covered}"
            elif exchanges[covered].covers:
                yield f"{where}: covers {covered}, which covers others"
            elif (other := covering.setdefault(covered, where)) != where:
                yield f"{where}: covers {covered}, as {other} does"


def _shared_wordings(subjects: tuple[Subject, ...]) -> Iterator[str]:
    """One line for each user line of two intents; only a name still untold lets the same words mean something else."""
    meanings: dict[tuple[str, bool], str] = {}
    for subject in subjects:
        for exchange in subject.exchanges:
            where = exchange.label
            for line in exchange.user.train + exchange.user.heldout:
                spoken = " ".join(re.findall(r"{\w+}|[a-z0-9]+|[^\w\s]+$", line.lower().replace("'", "")))
                spoken = spoken.rstrip(" .,?!") or spoken
                other = meanings.setdefault((spoken, exchange.no_name), where)
                if other != where:
                    yield f"{where}: also a line of {other}: {line}"


def without_overlap(subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
    """The subjects less each held-out reply that shares half or more of its word 5-grams with any training reply,
    and less each held-out user line that is also a training line."""
    replies = [line for s in subjects for e in s.exchanges for line in e.reply.train]
    lines = {" ".join(words(line)) for s in subjects for e in s.exchanges for line in e.user.train}
    runs = [_runs(line) for line in replies]

    def shares(line: str) -> bool:
        own = _runs(line)
        return bool(own) and any(2 * len(own & other) >= len(own) for other in runs)

    def kept(exchange: Exchange) -> Exchange:
        reply = Split(exchange.reply.train, tuple(r for r in exchange.reply.heldout if not shares(r)))
        user = Split(exchange.user.train, tuple(u for u in exchange.user.heldout if " ".join(words(u)) not in lines))
        return replace(exchange, user=user, reply=reply)

    return tuple(replace(s, exchanges=tuple(map(kept, s.exchanges))) for s in subjects)


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    spoken = words(text)
    return frozenset(tuple(spoken[i : i + SHARED_WORDS]) for i in range(len(spoken) - SHARED_WORDS + 1))
