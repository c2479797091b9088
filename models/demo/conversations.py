"""Conversations drawn from the dialogues: what the user and the bot say in turn, within the bans."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from transformers import BlenderbotTokenizerFast

from models.demo.bans import may_be_said
from models.demo.dialogues import Exchange, Subject, user_words
from models.demo.meaning import UserLines
from models.demo.names import NameSampler
from models.demo.tokenizer import encode_history
from models.demo.wording import Rewording

TRIES = 12
IN_PASSING = 0.3  # how often an introduction and what follows it are one message


@dataclass(frozen=True)
class Sample:
    """One reply to learn. `input_ids` is the history, `labels` the reply, both with `</s>`.

    `own_name` marks the `input_ids` that are the user's name, where it has been told; `name_said` the `labels` in which
    the reply says that name, `copied` those of any value that the user gave.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    intent: str
    turns: int
    user: str
    reply: str
    own_name: tuple[bool, ...]
    name_said: tuple[bool, ...]
    copied: tuple[bool, ...]


class ConversationSampler:
    """Draws conversations by seed, from the training lines or from the held-out ones."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        names: NameSampler,
        tokenizer: BlenderbotTokenizerFast,
        seed: int,
        heldout_users: bool = False,
        heldout_replies: bool = False,
        lines: UserLines | None = None,
    ) -> None:
        self._subjects = {s.name: s for s in subjects}
        exchanges = [e for s in subjects for e in s.exchanges if e.reply.of(heldout_replies)]
        self._free = [e for e in exchanges if e.free]
        self._first = [e for e in self._free if not self._subjects[e.subject].follows_anything]
        self._anywhere = [e for e in self._free if self._subjects[e.subject].follows_anything]
        self._introductions = [e for e in exchanges if e.introduces]
        self._recalls = [e for e in exchanges if e.needs_name]
        self._unknowns = [e for e in exchanges if e.no_name]
        self._names = names
        self._tokenizer = tokenizer
        self._random = Random(seed)
        self._heldout_users = heldout_users
        self._heldout_replies = heldout_replies
        self._lines = lines
        self._rewording = None if heldout_users else Rewording(user_words(subjects))
        self._encoded: dict[str, tuple[int, ...]] = {}

    def samples(self) -> Iterator[Sample]:
        """Samples without end."""
        while True:
            yield from self.conversation()

    def conversation(self) -> list[Sample]:
        """The samples of one conversation, one for each reply worth learning."""
        kind = self._random.random()
        if kind < 0.5 or not (self._introductions and self._recalls):
            return self._speak(self._chain(self._random.choices((1, 2, 3, 4), (30, 40, 20, 10))[0]), 1.0)
        between = self._chain(self._random.choices((0, 1, 2, 3), (15, 50, 25, 10))[0], self._random.random() < 0.3)
        if kind < 0.95:
            before = self._chain(1) if self._random.random() < 0.12 else []
            after = self._chain(1) if self._random.random() < 0.15 else []
            recalls = [self._random.choice(self._recalls)]
            if len(self._recalls) > 1 and self._random.random() < 0.15:
                recalls += [self._random.choice(self._recalls)]
            return self._speak([*before, self._random.choice(self._introductions), *between, *recalls, *after], 0.5)
        if not self._unknowns:
            return self._speak(between, 0.5)
        return self._speak([*between, self._random.choice(self._unknowns)], 0.5)

    def _chain(self, length: int, begun: bool = False) -> list[Exchange]:
        """Exchanges without names; each is followed, half of the time, by one that answers it.

        Lines that may follow anything ("why?") come first only where the talk has `begun`.
        """
        chain: list[Exchange] = []
        while len(chain) < length:
            subject = self._subjects[chain[-1].subject] if chain else None
            followers = subject.followers(chain[-1]) if subject else []
            if followers and self._random.random() < 0.55:
                chain.append(self._random.choice(followers))
            elif self._anywhere and self._random.random() < (0.35 if chain or begun else 0.02):
                chain.append(self._random.choice(self._anywhere))
            elif subject and self._random.random() < 0.3:
                chain.append(self._random.choice([e for e in self._free if e.subject == subject.name] or self._free))
            elif not chain and self._random.random() < 0.25:
                chain += self._followed(length)
            else:
                chain.append(self._random.choice(self._first))
        return chain

    def _followed(self, room: int) -> list[Exchange]:
        parents = [e for e in self._free if self._subjects[e.subject].followers(e)]
        if room < 2 or not parents:
            return []
        parent = self._random.choice(parents)
        return [parent, self._random.choice(self._subjects[parent.subject].followers(parent))]

    def _speak(self, plan: Sequence[Exchange], share: float) -> list[Sample]:
        """The samples of a planned conversation; replies that involve no name are kept with chance `share`.

        An introduction may be told in passing: in one message with what the user says next.
        """
        values: dict[str, str] = {"name": self._names.draw(self._random)}
        turns: list[str] = []
        samples: list[Sample] = []
        told = False
        passing: Exchange | None = None
        for exchange, after in zip(plan, (*plan[1:], None), strict=True):
            told = told or exchange.introduces
            if exchange.introduces and after and after.free and self._random.random() < IN_PASSING:
                passing = exchange
                continue
            sample = self._exchange(exchange, values, turns, told, passing)
            passing = None
            if sample is None:
                break
            turns += [sample.user, sample.reply]
            if (not exchange.free and not exchange.after) or self._random.random() < share:
                samples.append(sample)
        return samples

    def _exchange(
        self, exchange: Exchange, values: dict[str, str], turns: Sequence[str], told: bool, passing: Exchange | None
    ) -> Sample | None:
        """The next sample after `turns`, if the bans allow one; in its line the user may tell the name in `passing`."""
        slots = self._subjects[exchange.subject].slots
        for slot, split in slots.items():
            key = f"{exchange.subject}.{slot}"
            if key not in values or (not exchange.after and self._random.random() < 0.5):
                values[key] = self._random.choice(split.of(self._heldout_users))
        filled = {slot: values[f"{exchange.subject}.{slot}"] for slot in slots}
        for _ in range(TRIES):
            answer = self._random.choice(exchange.reply.of(self._heldout_replies))
            line = self._line(exchange, passing)
            if exchange.introduces or passing:
                values["name"] = self._typed(values["name"], line)
            filled["name"] = values["name"]
            user = line.format_map(filled)
            reply = answer.format_map(filled)
            input_ids, kept = encode_history(self._tokenizer, [*turns, user])
            own_name = runs_of([self._encode(values["name"])[:-1]] if told else [], input_ids)
            if exchange.needs_name and not any(own_name):
                return None
            labels = self._encode(reply)
            if may_be_said(input_ids, self._tokenizer.bos_token_id, labels):
                given = {slot: self._encode(value)[:-1] for slot, value in filled.items() if f"{{{slot}}}" in answer}
                return Sample(
                    tuple(input_ids),
                    labels,
                    exchange.label,
                    len(kept),
                    user,
                    reply,
                    own_name=own_name,
                    name_said=runs_of([given["name"]] if "name" in given else [], labels),
                    copied=runs_of(given.values(), labels),
                )
        return None

    def _line(self, exchange: Exchange, passing: Exchange | None) -> str:
        """What the user says, its slots unfilled."""
        if self._lines:
            line = self._lines.draw(exchange, self._random)
        else:
            line = self._random.choice(exchange.user.of(self._heldout_users))
        if passing:
            line = _joined(self._random.choice(passing.user.of(self._heldout_users)), line, self._random)
        return self._rewording.draw(line, self._random) if self._rewording else line

    def _typed(self, name: str, line: str) -> str:
        """The name in lower case, half of the time, where the line is too and two tokens still spell it."""
        lower = name.lower()
        if line.replace("{name}", "") == line.replace("{name}", "").lower() and self._random.random() < 0.5:
            return lower if len(self._encode(lower)) <= 3 else name
        return name

    def _encode(self, text: str) -> tuple[int, ...]:
        if text not in self._encoded:
            if len(self._encoded) > 200_000:
                self._encoded.clear()
            self._encoded[text] = tuple(self._tokenizer(" " + text.strip())["input_ids"])
        return self._encoded[text]


def _joined(introduction: str, line: str, random: Random) -> str:
    """Both in one message, most often the introduction first, as a sentence of its own or not."""
    first, then = (introduction, line) if random.random() < 0.85 else (line, introduction)
    if random.random() < 0.5:
        return f"{first}{'' if first[-1] in '.!?' else '.'} {then}"
    lower = then if then[:2] in ("I ", "I'") or then[0] == "{" else then[0].lower() + then[1:]
    return f"{first.rstrip('.!?')}{random.choice((',', ' and', ' -'))} {lower}"


def runs_of(parts: Iterable[Sequence[int]], ids: Sequence[int]) -> tuple[bool, ...]:
    """Which of `ids` belong to a place where all of one of `parts` stands in a row."""
    inside = [False] * len(ids)
    for part in parts:
        for start in range(len(ids) - len(part) + 1):
            if tuple(ids[start : start + len(part)]) == tuple(part):
                inside[start : start + len(part)] = [True] * len(part)
    return tuple(inside)
