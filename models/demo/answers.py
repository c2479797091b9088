"""Answers to any lines, once it is known which intents they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.demo.bans import may_be_said
from models.demo.batches import IGNORED, marks
from models.demo.deciding import Deciding
from models.demo.lessons import Lesson


@dataclass(frozen=True)
class Beginnings:
    """Where replies begin, each up to the last token that still decides which reply it is.

    `rows` [replies], int64, are the lines that they answer; `before` and `labels` [replies, length], int64, the tokens
    that the decoder reads and those that it says, -100 where padded; `deciding` [replies, length], bool, where a token
    decides.
    """

    rows: Tensor
    before: Tensor
    labels: Tensor
    deciding: Tensor


class Answers:
    """The beginnings of the replies that copy nothing.

    `tokens` [tokens], int64, are the ids of all that they hold, ascending.
    """

    def __init__(self, replies: Mapping[int, Sequence[int]], deciding: Deciding, pad: int, start: int) -> None:
        """
        Args:
            replies: by intent, the ids of its reply.
            deciding: which of their tokens decide.
            pad: id of the token that fills up.
            start: id of the token that begins a reply.
        """
        self._replies = replies
        self._marks = {intent: _until_last(deciding.marks(reply)) for intent, reply in replies.items()}
        self.tokens = torch.tensor(sorted({i for intent in replies for i in self._beginning(intent)}))
        self._pad = pad
        self._start = start

    def to(self, lesson: Lesson, intents: Tensor) -> Beginnings:
        """What to say to lines; nothing to those whose intent has no such reply, or none that may be said.

        Args:
            lesson: the lines.
            intents: of each line, [lines]. At least one line can be answered.
        """
        rows: list[int] = []
        said: list[Tensor] = []
        for row, intent in enumerate(intents.tolist()):
            line = lesson.input_ids[row][lesson.attention_mask[row].bool()].tolist()
            if intent in self._replies and may_be_said(line, self._start, self._replies[intent]):
                rows.append(row)
                said.append(torch.tensor(self._beginning(intent)))
        before = pad_sequence(said, batch_first=True, padding_value=self._pad)
        return Beginnings(
            torch.tensor(rows),
            torch.cat([torch.full((len(rows), 1), self._start), before[:, :-1]], 1),
            pad_sequence(said, batch_first=True, padding_value=IGNORED),
            marks([self._marks[intent] for intent in intents[rows].tolist()]),
        )

    def _beginning(self, intent: int) -> Sequence[int]:
        return self._replies[intent][: len(self._marks[intent])]


def _until_last(found: Sequence[bool]) -> Sequence[bool]:
    """All up to the last that is true; the first in any case."""
    return found[: max((place + 1 for place, true in enumerate(found) if true), default=1)]
