"""Replies beside those that they should equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from export.parity import TIE_TOLERANCE
from service.engine.settings import DecodingSettings


@dataclass(frozen=True)
class Difference:
    """A reply that is not the expected one.

    Attributes:
        source: token ids that were answered.
        settings: by which.
        expected: token ids of the reference.
        found: token ids of the engine.
        gap: distance in total score of the hypotheses on which the two first disagree, in nats.
    """

    source: tuple[int, ...]
    settings: DecodingSettings
    expected: tuple[int, ...]
    found: tuple[int, ...]
    gap: float


@dataclass
class Comparison:
    """Replies that were compared, and those that differ."""

    replies: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> int:
        return self.replies - len(self.differences)

    @property
    def ties(self) -> int:
        """Differences where the reference itself can hardly choose."""
        return sum(difference.gap < TIE_TOLERANCE for difference in self.differences)

    @property
    def largest_gap(self) -> float:
        """Of all differences, in nats; 0 where there is none."""
        return max((difference.gap for difference in self.differences), default=0.0)

    @property
    def agrees(self) -> bool:
        return self.equal + self.ties == self.replies

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.replies} replies equal, {self.ties} ties, largest gap {self.largest_gap:.1e} nats"
        )


def until_end(ids: Sequence[int], end: int) -> tuple[int, ...]:
    """A reply without what follows its end token, which `generate` of transformers pads with end tokens."""
    ids = list(ids)
    return tuple(ids[: ids.index(end, 1) + 1] if end in ids[1:] else ids)
