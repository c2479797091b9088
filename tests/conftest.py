"""Fixtures that more than one package's tests use: a tiny checkpoint with random weights and exports of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from benchmarks.environment import usable_cores
from models.demo import config as demo_config
from models.synthetic import Shape, write_checkpoint
from tests.shared import SharedFolders

TINY = Shape(vocab_size=300, d_model=128, encoder_layers=2, decoder_layers=3, heads=4, ffn=256, positions=128)

# As wide as models must be to have all their matrices quantised.
WIDE = Shape(vocab_size=300, d_model=1024, encoder_layers=1, decoder_layers=2, heads=16, ffn=512, positions=64)

MAX_WORKERS = 8


def pytest_configure() -> None:
    """Set what child processes inherit.

    Torch runs on one thread: threads that wait for each other slow tiny models down. Interrupts reach programs even if
    the tests were started in the background, where shells have them ignored.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """How many workers `-n auto` starts: each takes a core, and some 2 GB when its tests export."""
    return min(usable_cores(), MAX_WORKERS)


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep conversations of the tests apart from those of whoever runs them."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """The checkpoints and exports that are made once in a test run, whichever worker needs them."""
    return SharedFolders.of_run(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_checkpoint(shared: SharedFolders) -> Path:
    """A Blenderbot checkpoint with random weights; tests copy it before they change anything."""
    return shared.folder("tiny", lambda folder: write_checkpoint(folder, shape=TINY))


@pytest.fixture(scope="session")
def tiny_export(shared: SharedFolders, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint exported with 8-bit weights."""
    return shared.export(tiny_checkpoint, "tiny-int8", "int8")


@pytest.fixture(scope="session")
def tiny_fp32_export(shared: SharedFolders, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint exported without quantisation."""
    return shared.export(tiny_checkpoint, "tiny-fp32", "none")


@pytest.fixture(scope="session")
def wide_exports(shared: SharedFolders) -> dict[str, Path]:
    """A wide checkpoint with 8-bit and with 4-bit weights."""
    checkpoint = shared.folder("wide", lambda folder: write_checkpoint(folder, shape=WIDE))
    return {bits: shared.export(checkpoint, f"wide-{bits}", bits) for bits in ("int8", "int4")}


@pytest.fixture(scope="session")
def demo_export(shared: SharedFolders) -> Path:
    """The demo model exported with 8-bit weights."""
    return shared.export(demo_config.CHECKPOINT, "demo-int8", "int8")
