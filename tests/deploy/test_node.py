"""What hinders a machine from becoming part of a cluster; `tests/accept/cluster.py` has some that are part of one."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import address, member, node, token
from service.errors import ConfigurationError
from tests.redis_server import RedisServer
from tests.service.process import ROOT, free_port


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "deploy.node", *arguments)
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 1, "name it, like --store redis://10.0.0.4:6379/0."),
        (("--store", "memory"), 1, "name it, like --store redis://10.0.0.4:6379/0."),
        (("--store", "http://10.0.0.4"), 2, "--store is "),
        (("--store", "redis://127.0.0.1:1/0"), 1, "Redis"),
        (("--head", "10.0.0.1:6380"), 2, "--head is '10.0.0.1:6380'; it takes a name or an IPv4 address"),
        (("--head", "no.such.machine.invalid"), 1, "There is no way from here to no.such.machine.invalid"),
        (("--heads", "10.0.0.1"), 2, "python -m deploy.node --help lists the flags."),
    ],
)
def test_a_start_that_cannot_succeed_ends_with_one_sentence(
    arguments: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    ended = start(*arguments, HOME=str(tmp_path))
    assert ended.returncode == code
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_head_whose_redis_is_on_the_same_machine_is_asked_for_its_address(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        ended = start("--store", redis.url(), HOME=str(tmp_path))
    assert ended.returncode == 1
    assert "make ray-head HOST=..." in ended.stderr


def test_a_machine_is_part_of_one_cluster_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "NAME", f"\0test-{os.getpid()}")
    with member.alone(), pytest.raises(ConfigurationError, match="part of a cluster already"):
        member.alone()
    member.alone().close()


def test_the_head_makes_a_token_that_only_its_user_reads_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    token.keep({}, make=True)
    path = tmp_path / ".ray" / "auth_token"
    made = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token.keep({}, make=True)
    token.keep({}, make=False)
    assert path.read_text() == made


def test_another_machine_without_the_token_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="copy it from the head's"):
        token.keep({}, make=False)
    (tmp_path / "elsewhere").write_text("a" * 64)
    token.keep({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "elsewhere")}, make=False)
    token.keep({"RAY_AUTH_TOKEN": "a" * 64}, make=False)
    token.keep({"RAY_AUTH_MODE": "disabled"}, make=False)
    assert not (tmp_path / ".ray").exists()


def test_the_address_of_a_machine_is_the_one_on_the_way_to_the_others() -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1 is this machine itself"):
        address.own_address("127.0.0.1")


def test_a_head_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(address, "PORT", listener.getsockname()[1])
        assert address.unreachable("127.0.0.1") == ""
    monkeypatch.setattr(address, "PORT", free_port())
    assert "make ray-head starts one there" in address.unreachable("127.0.0.1")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            ["Some Ray subprocesses exited unexpectedly:", "  gcs_server [exit code=-9]", "Remaining"],
            "gcs_server [exit",
        ),
        (["Traceback", "ConnectionError: it is there already", "", "  more"], "ConnectionError: it is there already"),
        (["one", "last words", ""], "last words"),
        ([], "it said nothing"),
    ],
)
def test_why_ray_has_ended_is_told_in_a_line(said: list[str], told: str) -> None:
    assert member.reason(said).startswith(told)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ray.exceptions.AuthenticationError: InvalidAuthToken", "copy ~/.ray/auth_token from there."),
        (
            "RuntimeError: Version mismatch: The cluster:\n    Ray: 2.50.0",
            "have the same checkout and Python.",
        ),
        ("  raylet [exit code=1]", ""),
    ],
)
def test_what_no_other_start_mends_is_told_apart(said: str, told: str) -> None:
    found = member.permanent_fault(said.splitlines(), "10.0.0.1")
    assert bool(found) == bool(told)
    assert found.endswith(told)


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        node.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(option.flag in told and option.variable in told for option in node.OPTIONS.values())
