from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import Cache, fingerprint
from benchmarks.checkpoints import cached_export, synthetic_checkpoint
from models.synthetic import Shape


class Maker:
    """Makes a folder with a number in it, one more each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        folder.mkdir()
        (folder / "number").write_text(str(self.calls))


def test_folder_is_made_again_only_when_it_would_be_another(tmp_path: Path) -> None:
    cache, make = Cache(tmp_path / "cache"), Maker()
    folder = cache.get("things/one", {"recipe": 1}, make)
    assert folder == tmp_path / "cache" / "things" / "one"
    assert cache.get("things/one", {"recipe": 1}, make) == folder
    assert make.calls == 1
    cache.get("things/one", {"recipe": 2}, make)
    assert (folder / "number").read_text() == "2"
    (folder / "number").unlink()
    folder.rmdir()
    cache.get("things/one", {"recipe": 2}, make)
    assert (folder / "number").read_text() == "3"
    assert (tmp_path / "cache" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("failure", [OSError("no room"), KeyboardInterrupt()])
def test_failure_leaves_nothing_that_counts_as_made(failure: BaseException, tmp_path: Path) -> None:
    cache, make = Cache(tmp_path), Maker()
    cache.get("one", 1, make)

    def fail(folder: Path) -> None:
        folder.mkdir()
        raise failure

    with pytest.raises(type(failure)):
        cache.get("one", 2, fail)
    assert not (tmp_path / "one").exists()
    cache.get("one", 1, make)
    assert make.calls == 2


def test_fingerprint_changes_with_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = fingerprint([tmp_path])
    assert first == fingerprint([tmp_path])
    assert first == fingerprint([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "b").write_text("3")
    second = fingerprint([tmp_path])
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({first, second, fingerprint([tmp_path])}) == 3


def test_synthetic_checkpoint_and_its_export_are_made_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = Cache(tmp_path)
    shape = Shape(vocab_size=280, d_model=32, encoder_layers=1, decoder_layers=2, heads=2, ffn=32, positions=64)
    checkpoint = synthetic_checkpoint(cache, shape)
    assert (checkpoint.name, checkpoint.random_weights, checkpoint.positions) == ("synthetic-400m", True, 64)
    exported = cached_export(checkpoint, "int8", cache)
    assert exported.name == "synthetic-400m-int8"
    assert (exported / "decoder_step.onnx").is_file()
    made = (exported / "manifest.json").stat().st_mtime_ns
    assert "making a synthetic checkpoint" in capfd.readouterr().err
    assert synthetic_checkpoint(cache, shape) == checkpoint
    assert cached_export(checkpoint, "int8", cache) == exported
    assert capfd.readouterr().err == ""
    assert (exported / "manifest.json").stat().st_mtime_ns == made
