"""A model each of whose steps takes a moment, so that a reply is seen under way however fast the machine is."""

import time

from service.engine.batch import Batch

STEP_S = 0.01


def plant() -> None:
    """Serve with slower steps."""
    plain = Batch.step

    def slower(batch: Batch) -> object:
        time.sleep(STEP_S)
        return plain(batch)

    Batch.step = slower  # type: ignore[method-assign, assignment]
