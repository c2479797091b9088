from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.cache import Cache
from benchmarks.errors import InputError
from benchmarks.load import LoadWorkload, measure
from benchmarks.loops import ClosedLoop, Limit, OpenLoop
from benchmarks.models import Checkpoint, named_checkpoint
from benchmarks.prompts import prompts
from benchmarks.runs import Contestant, Missing
from benchmarks.servers import NAMES, LineUp, prepare
from benchmarks.serving.__main__ import SERVERS

WORKLOAD = LoadWorkload(
    loops=(ClosedLoop(2),),
    limit=Limit(requests=3),
    rounds=1,
    beams=2,
    new_tokens=5,
    source_tokens=9,
    threads=1,
    timeout_s=60.0,
)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return named_checkpoint(str(tiny_checkpoint))


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, tiny_export: Path) -> list[Missing]:
    """Spares the conversion of the rival; what a test puts in here is missing in its place."""
    missing: list[Missing] = []
    ready = [Contestant("stock-dynamic-int8", (), tiny_export, title="stock")]

    def prepared(*_: object) -> tuple[list[Contestant], list[Missing]]:
        return ([] if missing else ready), missing

    monkeypatch.setattr(contestants, "prepare", prepared)
    return missing


def line_up(checkpoint: Checkpoint, exported: Path, cache: Path, *names: str, **changes: object) -> LineUp:
    workload = replace(WORKLOAD, **changes)  # type: ignore[arg-type]
    return prepare(names or NAMES, checkpoint, exported, workload, Cache(cache), print)


def test_every_server_gives_replies_of_the_length_asked(
    checkpoint: Checkpoint, tiny_export: Path, converted: list[Missing], tmp_path: Path
) -> None:
    prepared = line_up(checkpoint, tiny_export, tmp_path)
    assert prepared.decoding["forced_eos_token_id"] == 2
    outcome = measure(prepared.servers, WORKLOAD, prompts(checkpoint.folder, 9, count=8), 4, print)
    (result,) = outcome.results
    assert [server.label for server in result.servers] == ["ours", "stock-dynamic-int8", "tutorial"]
    for server in result.servers:
        (run,) = server.runs
        assert [(exchange.error, exchange.detail) for exchange in run.exchanges] == [("", "")] * 3, server.label
        assert run.warm_up_errors == {}
        assert outcome.peak_bytes[server.label] > 50_000_000


def test_our_service_is_given_threads_queue_and_deadline(
    checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path
) -> None:
    (ours,) = line_up(checkpoint, tiny_export, tmp_path, "ours", stream=True).servers
    words = dict(zip(ours.command[3::2], ours.command[4::2], strict=True))
    assert ours.command[1:3] == ("-m", "service")
    assert (words["--port"], words["--threads"], words["--queue"], words["--deadline"]) == ("0", "1", "32", "60")
    assert Path(words["--model"]).name == "tiny-int8-beams2-tokens5"
    assert ours.stream
    assert not ours.rival
    assert ours.title == "our service on our export, ONNX int8, streaming"
    assert ours.versions.keys() == {"onnxruntime", "flask", "waitress"}
    (crowded,) = line_up(checkpoint, tiny_export, tmp_path, "ours", loops=(ClosedLoop(1), OpenLoop(2.0, 64))).servers
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
    converted.append(Missing("stock-dynamic-int8", "no wool"))
    prepared = line_up(checkpoint, tiny_export, tmp_path, "stock-dynamic-int8", "tutorial")
    assert [server.label for server in prepared.servers] == ["tutorial"]
    assert prepared.missing == (Missing("stock-dynamic-int8", "no wool"),)


def test_export_with_other_settings_is_refused(checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_export, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "length_penalty": 2.0}))
    with pytest.raises(InputError, match=r"other has other generation settings than .*tiny\."):
        line_up(checkpoint, folder, tmp_path / "cache", "ours")


def test_rivals_can_be_served() -> None:
    assert set(NAMES) == {"ours", *SERVERS}
