"""Fixtures that more than one package's tests use: a tiny checkpoint with random weights and exports of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from benchmarks.synthetic import Shape, write_checkpoint
from tests.export_child import exported

TINY = Shape(vocab_size=300, d_model=128, encoder_layers=2, decoder_layers=3, heads=4, ffn=256, positions=128)

# As wide as models must be to have all their matrices quantised.
WIDE = Shape(vocab_size=300, d_model=1024, encoder_layers=1, decoder_layers=2, heads=16, ffn=512, positions=64)


def pytest_configure() -> None:
    """Set what child processes inherit.

    Torch runs on one thread: threads that wait for each other slow tiny models down. Interrupts reach programs even if
    the tests were started in the background, where shells have them ignored.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep conversations of the tests apart from those of whoever runs them."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Blenderbot checkpoint with random weights; tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_checkpoint(folder, shape=TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint exported with 8-bit weights."""
    return exported(tiny_checkpoint, tmp_path_factory.mktemp("int8") / "tiny-int8", "int8")


@pytest.fixture(scope="session")
def tiny_fp32_export(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint exported without quantisation."""
    return exported(tiny_checkpoint, tmp_path_factory.mktemp("fp32") / "tiny-fp32", "none")


@pytest.fixture(scope="session")
def wide_exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wide checkpoint with 8-bit and with 4-bit weights."""
    folder = tmp_path_factory.mktemp("wide")
    write_checkpoint(folder / "checkpoint", shape=WIDE)
    return {bits: exported(folder / "checkpoint", folder / bits, bits) for bits in ("int8", "int4")}
