"""Words that were not understood are repeated only where no secret can be among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.options import misspelt
from service.settings import OPTIONS, parse
from tests.service.process import ROOT, ServiceProcess

SECRET = "mysecretkey0123456789"
PASSWORD = "geheim"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", SECRET],
        ["--api_keys", SECRET],
        ["--apikeys=" + SECRET],
        [SECRET],
        ["-k", SECRET],
        ["-api-keys", SECRET],
        ["\u2014api-keys", SECRET],
        ["--api-keys:" + SECRET],
        ["--api-keys" + SECRET],
        ["--" + SECRET],
        ["--api-keys", SECRET, SECRET],
        ["--api-keys", "short"],
        ["--port", SECRET],
        ["--trusted-proxies", SECRET],
        ["--cors-origins", SECRET],
        ["--log-format", SECRET],
        ["--check=" + SECRET],
        ["--shared-history", SECRET],
        ["--store", f"http://u:{PASSWORD}@h/0"],
        ["--store", f"redis:u:{PASSWORD}@h/0"],
        ["--cors-origins", f"https://u:{PASSWORD}@page.example"],
        ["--cors-origins", f"https://page.example/?key={PASSWORD}"],
    ],
)
def test_a_mistyped_flag_does_not_print_what_came_with_it(arguments: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(arguments, {})
    told = str(caught.value)
    assert SECRET not in told
    assert PASSWORD not in told
    assert "short" not in told


@pytest.mark.parametrize("variable", ["CHATBOT_PORT", "CHATBOT_API_KEYS", "CHATBOT_CORS_ORIGINS", "CHATBOT_QUEUE"])
def test_nor_does_a_wrong_variable(variable: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse([], {variable: f"{SECRET} {SECRET}" if variable == "CHATBOT_API_KEYS" else SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "80"], "There is no flag --prot ...;"),
        (["--port", "many"], "--port is 'many';"),
        (["--cors-origins", "https://page.example/path"], "--cors-origins is 'https://page.example/path';"),
    ],
)
def test_what_cannot_be_a_secret_is_told(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(arguments, {})
    assert str(caught.value).startswith(told)


def test_a_key_in_place_of_a_file_of_keys_is_not_told(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "service", "--port", "0", "--store", "memory", "--api-keys-file", SECRET],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
    )
    assert finished.returncode == 1
    assert "--api-keys-file" in finished.stderr
    assert SECRET not in finished.stderr


@pytest.mark.parametrize(
    "variable",
    [
        "CHATBOT_API_KEY",
        "CHATBOT_APIKEYS",
        "CHATBOTAPIKEYS",
        "CHATBOTS_API_KEYS",
        "CHAT_BOT_API_KEYS",
        "chatbot_api_keys",
        "CHATBOT-API-KEYS",
        "CHTABOT_API_KEYS",
    ],
)
def test_a_variable_that_looks_like_a_setting_is_told_and_its_value_is_not(variable: str) -> None:
    (told,) = misspelt({variable: SECRET, "PATH": "/bin", "HOME": "/root", "CHATBOT_API_KEYS": SECRET}, OPTIONS)
    assert told == f"{variable} is not a setting and has no effect; did you mean CHATBOT_API_KEYS?"


def test_it_is_told_at_the_start(short_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_API_KEY", SECRET)
    with ServiceProcess("--model", short_export) as process:
        process.wait_ready()
        assert (
            "WARNING CHATBOT_API_KEY is not a setting and has no effect; did you mean CHATBOT_API_KEYS?" in process.log
        )
        assert SECRET not in process.log
