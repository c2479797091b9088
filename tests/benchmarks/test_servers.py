from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, named_checkpoint
from benchmarks.contestants import Contestant
from benchmarks.errors import InputError
from benchmarks.load import Contest, Plan
from benchmarks.schema import Missing, Sizes
from benchmarks.servers import NAMES, LineUp, prepare
from benchmarks.serving import SERVERS

SIZES = Sizes(beams=2, source_tokens=9, new_tokens=5, threads=1)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return named_checkpoint(str(tiny_checkpoint))


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, tiny_export: Path) -> list[Missing]:
    """Spares the conversion of the rival; what a test puts in here is missing in its place."""
    missing: list[Missing] = []
    ready = [Contestant("stock-dynamic-int8", "stock", folder=tiny_export)]

    def prepared(*_: object) -> tuple[list[Contestant], list[Missing]]:
        return ([] if missing else ready), missing

    monkeypatch.setattr(contestants, "prepare", prepared)
    return missing


def line_up(checkpoint: Checkpoint, exported: Path, cache: Path, *names: str, queue: int = 2) -> LineUp:
    return prepare(names or NAMES, checkpoint, exported, SIZES, Cache(cache), print, queue=queue, timeout_s=60.0)


def test_every_server_gives_replies_of_the_length_asked(
    checkpoint: Checkpoint, tiny_export: Path, converted: list[Missing], tmp_path: Path
) -> None:
    prepared = line_up(checkpoint, tiny_export, tmp_path)
    assert prepared.decoding["forced_eos_token_id"] == 2
    assert prepared.reply_tokens == 4
    contest = Contest(prepared, Plan((2,), 1, 9, requests=3, timeout_s=60.0), print)
    (result,) = contest.run()
    assert [server.label for server in result.servers] == ["ours", "stock-dynamic-int8", "tutorial"]
    for server in result.servers:
        (run,) = server.runs
        assert [(exchange.error, exchange.detail) for exchange in run.requests] == [("", "")] * 3, server.label
        assert run.warm_up_errors == {}
    ours, *others = contest.participants()
    assert "kernels" in ours.engine
    assert all(other.engine == {} for other in others)
    assert all((server.peak_bytes or 0) > 50_000_000 for server in contest.participants())


def test_our_service_is_given_threads_queue_and_deadline(
    checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path
) -> None:
    (ours,) = line_up(checkpoint, tiny_export, tmp_path, "ours").servers
    words = dict(zip(ours.command[3::2], ours.command[4::2], strict=True))
    assert ours.command[1:3] == ("-m", "service")
    assert (words["--port"], words["--threads"], words["--queue"], words["--deadline"]) == ("0", "1", "32", "60")
    assert Path(words["--model"]).name == "tiny-int8-beams2-tokens5"
    assert not ours.rival
    assert ours.title == "our service on our export, ONNX int8"
    assert ours.versions.keys() == {"onnxruntime", "flask", "waitress"}
    (crowded,) = line_up(checkpoint, tiny_export, tmp_path, "ours", queue=64).servers
    assert crowded.command[crowded.command.index("--queue") + 1] == "64"


def test_server_named_twice_runs_twice(checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path) -> None:
    servers = line_up(checkpoint, tiny_export, tmp_path, "tutorial", "tutorial").servers
    assert [(server.label, server.name, server.rival) for server in servers] == [
        ("tutorial", "tutorial", True),
        ("tutorial (again)", "tutorial", True),
    ]
    assert servers[0].command == servers[1].command


def test_rival_that_cannot_be_converted_is_missing(
    checkpoint: Checkpoint, tiny_export: Path, converted: list[Missing], tmp_path: Path
) -> None:
    converted.append(Missing(name="stock-dynamic-int8", reason="no wool"))
    prepared = line_up(checkpoint, tiny_export, tmp_path, "stock-dynamic-int8", "tutorial")
    assert [server.label for server in prepared.servers] == ["tutorial"]
    assert prepared.missing == [Missing(name="stock-dynamic-int8", reason="no wool")]


def test_export_with_other_settings_is_refused(checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_export, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "length_penalty": 2.0}))
    with pytest.raises(InputError, match=r"other has other generation settings than .*tiny\."):
        line_up(checkpoint, folder, tmp_path / "cache", "ours")


def test_rivals_can_be_served() -> None:
    assert set(NAMES) == {"ours", *SERVERS}
