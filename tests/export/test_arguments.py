"""The command line: wrong arguments, defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import parse
from models.folder import DEFAULT_MODEL
from tests.export_child import refusal, run_export


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--quantization", "int3"], "'int3' and takes int8, int4, none"),
        (["--precision", "int8"], "--precision"),
        (["--model", "  "], "--model: it is empty"),
        (["--model"], "--model"),
        (["checkpoint"], "there is no flag ...;"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments: list[str], named: str) -> None:
    assert named in refusal(run_export(*arguments), code=2)


def test_help_names_every_option() -> None:
    shown = run_export("--help")
    assert shown.returncode == 0
    for option in ("--model", "--revision", "--quantization", "--output-dir", "--force", "--no-verify", "--check"):
        assert option in shown.stdout


def test_without_arguments_the_distilled_400m_model_is_exported_to_int8_and_verified() -> None:
    config = parse([])
    assert config.model == DEFAULT_MODEL == "facebook/blenderbot-400M-distill"
    assert config.quantization == "int8"
    assert config.output_dir == Path("models/blenderbot-400M-distill-int8")
    assert config.verify
    assert not config.force


def test_the_folder_is_named_after_model_and_precision(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine" / "checkpoint"
    checkpoint.mkdir(parents=True)
    assert parse(["--model", "a/b", "--quantization", "int4"]).output_dir == Path("models/b-int4")
    assert parse(["--model", "a/b", "--quantization", "none"]).output_dir == Path("models/b-fp32")
    assert parse(["--model", str(tmp_path / "mine")]).output_dir == Path("models/mine-int8")
    assert parse(["--model", str(checkpoint)]).output_dir == Path("models/mine-int8")


def test_a_home_folder_in_the_output_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse(["--output-dir", "~/x"]).output_dir == tmp_path / "x"
    (tmp_path / "mine").mkdir()
    assert parse(["--model", "~/mine"]).output_dir == Path("models/mine-int8")


@pytest.mark.parametrize("flag", ["--model", "--output-dir"])
def test_a_home_folder_that_does_not_exist_is_named_with_its_flag(flag: str) -> None:
    message = refusal(run_export(flag, "~nobodyhere/x"), code=2)
    assert "no home folder" in message
    assert flag in message


@pytest.mark.parametrize(
    "arguments", [["--token", "hf_mysecret"], ["--quantization", "hf_mysecret_0123456789"], ["hf_my"]]
)
def test_what_may_be_a_secret_is_not_repeated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "hf_my" not in capsys.readouterr().err
