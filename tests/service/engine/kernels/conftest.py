"""The kernel library of this checkout, and the instruction sets that this processor can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine.kernels import library, sources
from service.engine.kernels.library import KernelsUnavailable


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the kernel library."""
    try:
        library.check()
    except KernelsUnavailable as reason:
        pytest.skip(f"no kernel library here: {reason}")
    return sources.BUILD


@pytest.fixture(scope="session")
def instruction_sets(built: Path) -> list[str]:
    """All that this processor can run."""
    names = list(library.instruction_sets(built))
    assert names, "the library has none for this processor"
    return names
