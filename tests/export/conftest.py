"""Fixtures of the export tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.synthetic import write_checkpoint
from tests.conftest import TINY
from tests.export.fake_hub import FakeHub
from tests.shared import SharedFolders


@pytest.fixture(scope="session")
def tiny_int4_export(shared: SharedFolders, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint exported with 4-bit weights."""
    return shared.export(tiny_checkpoint, "tiny-int4", "int4")


@pytest.fixture(params=["none", "int8", "int4"])
def any_export(request: pytest.FixtureRequest) -> Path:
    """The tiny checkpoint at each precision in turn."""
    fixture = {"none": "tiny_fp32_export", "int8": "tiny_export", "int4": "tiny_int4_export"}[request.param]
    folder: Path = request.getfixturevalue(fixture)
    return folder


@pytest.fixture(scope="session")
def other_checkpoint(shared: SharedFolders) -> Path:
    """A checkpoint of the tiny shape with other weights."""
    return shared.folder("other", lambda folder: write_checkpoint(folder, shape=TINY, seed=1))


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder to export into, alone in a parent that does not exist yet."""
    return tmp_path / "out" / "tiny"


@pytest.fixture
def hub(tiny_checkpoint: Path) -> Iterator[FakeHub]:
    """A Hub on this machine with the tiny checkpoint as `owner/tiny`."""
    with FakeHub("owner/tiny", tiny_checkpoint) as server:
        yield server
