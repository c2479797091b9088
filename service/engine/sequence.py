"""One reply in the making."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.beam_search import BeamSearch
from service.engine.forbidden import Forbidden, presentable
from service.engine.sampler import Sampler
from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sequence:
    """The source of a reply, its settings, and the search that writes it."""

    def __init__(
        self, source: list[int] | NDArray[np.int64], settings: DecodingSettings, forbidden: Forbidden | None = None
    ) -> None:
        """
        Args:
            source: token ids of the history, end token included.
            settings: how the reply is decoded.
            forbidden: what it must not hold; None for nothing.
        """
        self.source = np.asarray(source, np.int64)
        self.settings = settings
        kind = BeamSearch if settings.num_beams > 1 else Sampler
        self.search: BeamSearch | Sampler = kind(self.source, settings, forbidden)
        self._forbidden = forbidden

    @property
    def finished(self) -> bool:
        """Whether the reply is complete."""
        return self.search.finished

    @property
    def settled(self) -> list[int]:
        """Token ids that the finished reply is certain to begin with, start token first, and that may be shown."""
        settled = self.search.settled
        return settled if self._forbidden is None else presentable(self._forbidden, settled)

    @property
    def result(self) -> list[int]:
        """Token ids of the finished reply, start token first."""
        return self.search.result
