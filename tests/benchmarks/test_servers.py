from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, decoding, named_checkpoint
from benchmarks.contest import Contest
from benchmarks.contestants import Contestant
from benchmarks.errors import InputError, RivalError
from benchmarks.servers import TITLES, LineUp, prepare
from benchmarks.serving import SERVERS
from benchmarks.session import Session


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return named_checkpoint(str(tiny_checkpoint))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(cache=Cache(tmp_path / "cache"))


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, tiny_export: Path) -> list[Contestant]:
    """Spares the conversion of the rival; a test that empties this makes it fail."""
    ready = [Contestant("stock-dynamic-int8", "stock", folder=tiny_export)]

    def prepared(names: list[str], _: object, session: Session) -> list[Contestant]:
        if not ready:
            session.leave_out(names[0], RivalError("no wool."))
        return ready

    monkeypatch.setattr(contestants, "prepare", prepared)
    return ready


def line_up(checkpoint: Checkpoint, exported: Path, session: Session, *names: str, queue: int = 2) -> LineUp:
    options = argparse.Namespace(
        servers=names or tuple(TITLES), exported=exported, beams=2, source_tokens=9, new_tokens=5, threads=1
    )
    return prepare(options, checkpoint, session, queue)


def test_every_server_gives_replies_of_the_length_asked(
    checkpoint: Checkpoint, tiny_export: Path, converted: list[Contestant], session: Session
) -> None:
    prepared = line_up(checkpoint, tiny_export, session)
    assert decoding(checkpoint.folder)["forced_eos_token_id"] == 2
    assert prepared.reply_tokens == 4
    contest = Contest(prepared, session, clients=(2,), rounds=1, requests=3)
    (result,) = contest.run()
    assert [server.label for server in result.servers] == ["ours", "stock-dynamic-int8", "tutorial"]
    for server in result.servers:
        (run,) = server.runs
        assert [(exchange.error, exchange.detail) for exchange in run.requests] == [("", "")] * 3, server.label
    ours, *others = contest.participants()
    assert ours.engine.keys() == {"precision", "kernels"}
    assert ours.engine["precision"] == "int8"
    assert all(other.engine == {} for other in others)
    assert all((server.peak_bytes or 0) > 50_000_000 for server in contest.participants())


def test_our_service_is_given_threads_queue_and_deadline(
    checkpoint: Checkpoint, tiny_export: Path, session: Session
) -> None:
    (ours,) = line_up(checkpoint, tiny_export, session, "ours").servers
    words = dict(zip(ours.command[3::2], ours.command[4::2], strict=True))
    assert ours.command[1:3] == ("-m", "service")
    assert (words["--port"], words["--threads"], words["--queue"], words["--deadline"]) == ("0", "1", "32", "300")
    assert Path(words["--model"]).name == "tiny-int8-beams2-tokens5"
    assert not ours.rival
    assert ours.title == "**this project**, int8"
    (crowded,) = line_up(checkpoint, tiny_export, session, "ours", queue=64).servers
    assert crowded.command[crowded.command.index("--queue") + 1] == "64"


def test_server_named_twice_runs_twice(checkpoint: Checkpoint, tiny_export: Path, session: Session) -> None:
    servers = line_up(checkpoint, tiny_export, session, "tutorial", "tutorial").servers
    assert [(server.label, server.name, server.rival) for server in servers] == [
        ("tutorial", "tutorial", True),
        ("tutorial (again)", "tutorial", True),
    ]
    assert servers[0].command == servers[1].command


def test_rival_that_cannot_be_converted_is_missing(
    checkpoint: Checkpoint, tiny_export: Path, converted: list[Contestant], session: Session
) -> None:
    converted.clear()
    prepared = line_up(checkpoint, tiny_export, session, "stock-dynamic-int8", "tutorial")
    assert [server.label for server in prepared.servers] == ["tutorial"]
    assert session.missing == {"stock-dynamic-int8": "no wool"}


def test_export_with_other_settings_is_refused(
    checkpoint: Checkpoint, tiny_export: Path, session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_export, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "length_penalty": 2.0}))
    with pytest.raises(InputError, match=r"other has other generation settings than .*tiny\."):
        line_up(checkpoint, folder, session, "ours")


def test_rivals_can_be_served() -> None:
    assert set(TITLES) == {"ours", *SERVERS}
