"""Answers to any lines, once it is known which intents they have."""

from collections.abc import Mapping, Sequence
from random import Random

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.demo.bans import may_be_said
from models.demo.batches import IGNORED, marks
from models.demo.deciding import Deciding
from models.demo.lessons import Lesson
from models.demo.meaning import REPLY_SHARPNESS
from models.demo.student import Talk


class Answers:
    """Draws a reply for each line among those of its intent: the closer in meaning, the likelier."""

    def __init__(
        self,
        replies: Mapping[int, tuple[Sequence[Sequence[int]], Tensor]],
        deciding: Deciding,
        pad: int,
        start: int,
        seed: int,
    ) -> None:
        """
        Args:
            replies: of each intent that has some which copy nothing, their ids and what the teacher says of them,
                [replies, 384].
            deciding: which of their tokens decide.
            pad: id of the token that fills up.
            start: id of the token that begins a reply.
            seed: to draw by.
        """
        self._replies = replies
        self._deciding = deciding
        self._pad = pad
        self._start = start
        self._random = Random(seed)

    def to(self, lesson: Lesson, intents: Tensor) -> Talk:
        """Lines with their replies; without those lines whose intent has none, or none that may be said.

        Args:
            lesson: the lines.
            intents: of each line, [lines].
        """
        rows: list[int] = []
        labels: list[Tensor] = []
        deciding: list[Sequence[bool]] = []
        for row, intent in enumerate(intents.tolist()):
            if intent not in self._replies:
                continue
            ids, meanings = self._replies[intent]
            likely = (REPLY_SHARPNESS * meanings @ lesson.meanings[row]).softmax(0).tolist()
            reply = self._random.choices(ids, likely)[0]
            line = lesson.input_ids[row][lesson.attention_mask[row].bool()].tolist()
            if may_be_said(line, self._start, reply):
                rows.append(row)
                labels.append(torch.tensor(reply))
                deciding.append(self._deciding.marks(reply))
        said = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        before = pad_sequence(labels, batch_first=True, padding_value=self._pad)
        begun = torch.full((len(rows), 1), self._start)
        batch = {
            "input_ids": lesson.input_ids[rows],
            "attention_mask": lesson.attention_mask[rows],
            "decoder_input_ids": torch.cat([begun, before[:, :-1]], 1),
            "labels": said,
        }
        nowhere, unsaid = torch.zeros_like(batch["input_ids"]).bool(), torch.zeros_like(said).bool()
        return Talk(batch, intents[rows], own_names=nowhere, names_said=unsaid, copied=unsaid, deciding=marks(deciding))
