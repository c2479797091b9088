"""Flags, environment and defaults, and what a wrong value says."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.settings import OPTIONS, ServiceConfig, parse
from tests.service.process import ROOT

SECRET = "0123456789abcdef"
GOOD_VALUES: dict[str, tuple[str, object]] = {
    "--model": ("models/some-int8", "models/some-int8"),
    "--host": ("0.0.0.0", "0.0.0.0"),
    "--port": ("8080", 8080),
    "--threads": ("3", 3),
    "--kernels": ("stock", "stock"),
    "--rows": ("20", 20),
    "--queue": ("7", 7),
    "--reply-cache": ("0", 0),
    "--never-say": ("words.txt", Path("words.txt")),
    "--client-limit": ("30", 30),
    "--trusted-proxies": ("10.0.0.1, 192.168.0.0/16", (ip_network("10.0.0.1"), ip_network("192.168.0.0/16"))),
    "--deadline": ("1.5", 1.5),
    "--drain-timeout": ("0", 0.0),
    "--max-body": ("4096", 4096),
    "--max-prompt": ("10", 10),
    "--store": ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    "--conversations": ("1", 1),
    "--conversation-ttl": ("60", 60.0),
    "--shared-history": ("on", True),
    "--models-dir": ("some/models", Path("some/models")),
    "--api-keys": (f"{SECRET}, {SECRET}-2 ,", (SECRET, f"{SECRET}-2")),
    "--api-keys-file": ("keys.txt", Path("keys.txt")),
    "--cors-origins": (
        "https://Page.example, http://localhost:3000,https://[::1]:8443,https://page.example:443",
        ("https://page.example", "http://localhost:3000", "https://[::1]:8443"),
    ),
    "--log-format": ("JSON", "json"),
    "--check": ("on", True),
}
WRONG_VALUES = {
    "--model": [""],
    "--host": [" "],
    "--port": ["http", "65536", "-1", "5000.5", "9" * 5000],
    "--threads": ["-1", "many"],
    "--kernels": ["fast", "on"],
    "--rows": ["0", "all"],
    "--queue": ["0", "1e3"],
    "--reply-cache": ["-1", "off"],
    "--never-say": [" "],
    "--client-limit": ["-1", "30/minute"],
    "--trusted-proxies": ["proxy.example", "10.0.0.1/8", "10.0.0"],
    "--deadline": ["0", "nan", "inf", "soon"],
    "--drain-timeout": ["-0.1", "1 minute"],
    "--max-body": ["255", "64K"],
    "--max-prompt": ["0", "None"],
    "--store": ["", "postgres://user:pw@host/db", "redis:/host", "http://host"],
    "--conversations": ["0", "10.0"],
    "--conversation-ttl": ["0", "7d"],
    "--shared-history": ["maybe", "2"],
    "--models-dir": [""],
    "--api-keys": ["", " , ", "short", f"{SECRET},short", f"{SECRET} {SECRET}", f"{SECRET}é", SECRET * 40],
    "--api-keys-file": [" "],
    "--cors-origins": [
        "",
        "page.example",
        "null",
        "*.example",
        "https://*.page.example",
        "https://page.example/",
        "https://page.example/path",
        "https://page.example?query",
        "https://user@page.example",
        "https://page.example:port",
        "https://page.example:70000",
        "https://",
        "https://a b",
        "https://page.example,none",
        "https://page.example,*",
        "https://pagé.example",
    ],
    "--log-format": ["xml", ""],
    "--check": ["perhaps"],
}
FIELDS = {option.flag: name for name, option in OPTIONS.items()}


def variable(flag: str) -> str:
    return "CHATBOT_" + flag.removeprefix("--").replace("-", "_").upper()


def service(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_flag_has_a_good_and_a_wrong_value_here() -> None:
    assert set(FIELDS) == set(GOOD_VALUES) == set(WRONG_VALUES)


def test_without_flags_and_environment_the_defaults_hold() -> None:
    assert parse([], {}) == ServiceConfig()


@pytest.mark.parametrize("flag", GOOD_VALUES)
def test_a_flag_sets_its_field(flag: str) -> None:
    text, value = GOOD_VALUES[flag]
    assert getattr(parse([flag, text], {}), FIELDS[flag]) == value
    assert getattr(parse([f"{flag}={text}"], {}), FIELDS[flag]) == value


@pytest.mark.parametrize("flag", GOOD_VALUES)
def test_the_environment_sets_what_no_flag_does(flag: str) -> None:
    text, value = GOOD_VALUES[flag]
    assert getattr(parse([], {variable(flag): text}), FIELDS[flag]) == value


@pytest.mark.parametrize("flag", GOOD_VALUES)
def test_a_flag_wins_over_the_environment_even_over_a_wrong_one(flag: str) -> None:
    text, value = GOOD_VALUES[flag]
    wrong = WRONG_VALUES[flag][0]
    assert getattr(parse([flag, text], {variable(flag): wrong}), FIELDS[flag]) == value


def test_other_variables_are_left_alone() -> None:
    assert parse([], {"PORT": "1", "MODEL": "x", "CHATBOT_NOTHING": "y"}) == ServiceConfig()


def test_a_switch_needs_no_value() -> None:
    assert parse(["--shared-history"], {}).shared_history
    assert parse(["--shared-history", "--port", "1"], {}).port == 1
    assert not parse(["--shared-history", "off"], {"CHATBOT_SHARED_HISTORY": "on"}).shared_history


@pytest.mark.parametrize(("flag", "text"), [(flag, text) for flag, texts in WRONG_VALUES.items() for text in texts])
def test_a_wrong_value_is_refused_by_the_name_it_came_under_and_what_it_takes(flag: str, text: str) -> None:
    for arguments, environment, origin in (
        ([f"{flag}={text}"], {}, flag),
        ([], {variable(flag): text}, variable(flag)),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            parse(arguments, environment)
        message = str(refusal.value)
        assert message.startswith(f"{origin} is ")
        assert "it takes " in message
        assert SECRET not in message
        assert "\n" not in message


@pytest.mark.parametrize("flag", WRONG_VALUES)
def test_the_process_prints_one_line_and_ends_with_2(flag: str) -> None:
    text = WRONG_VALUES[flag][-1]
    for finished, origin in (
        (service(f"{flag}={text}"), flag),
        (service(**{variable(flag): text}), variable(flag)),
    ):
        assert finished.returncode == 2
        assert finished.stdout == ""
        assert finished.stderr.startswith(f"error: {origin} is ")
        assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--port"], ["--prot", "5000"], ["--por", "5000"]])
def test_a_wrong_flag_is_one_line_too(arguments: list[str]) -> None:
    finished = service(*arguments)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert arguments[0] in finished.stderr
    assert "--help" in finished.stderr


def test_a_word_that_belongs_to_no_flag_may_be_a_secret_and_is_not_repeated() -> None:
    finished = service("folder")
    assert finished.returncode == 2
    assert finished.stderr == "error: There is no flag ...; python -m service --help lists the flags.\n"


def test_all_wrong_values_are_named_at_once() -> None:
    finished = service("--port", "http", "--rows=0", CHATBOT_QUEUE="none")
    assert finished.returncode == 2
    complaints = finished.stderr.splitlines()
    assert sorted(line.split()[1] for line in complaints) == ["--port", "--rows", "CHATBOT_QUEUE"]
    assert all(line.startswith("error: ") for line in complaints)


@pytest.mark.parametrize(
    "arguments", [["--api-keys", "x", SECRET], ["--api-keys-of-mine=" + SECRET], [f"--key={SECRET}"]]
)
def test_a_key_that_went_astray_on_the_command_line_is_not_repeated(arguments: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse(arguments, {})
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("marks", ['""', "''", "\u201c\u201d", "\u2018\u2019"])
@pytest.mark.parametrize("flag", GOOD_VALUES)
def test_a_value_in_quotes_is_refused_for_its_quotes_and_not_shown(flag: str, marks: str) -> None:
    quoted = marks[0] + GOOD_VALUES[flag][0] + marks[1]
    for arguments, environment, origin in (
        ([f"{flag}={quoted}"], {}, flag),
        ([], {variable(flag): f" {quoted}\n"}, variable(flag)),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            parse(arguments, environment)
        assert str(refusal.value) == f"{origin} has quotes around it; leave them out."


@pytest.mark.parametrize("value", [f'{SECRET},"{SECRET}"', f"'{SECRET}',{SECRET}"])
def test_one_of_several_keys_in_quotes_is_refused_too(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^CHATBOT_API_KEYS has quotes around it; leave them out.$"):
        parse([], {"CHATBOT_API_KEYS": value})


def test_a_value_may_hold_quotes() -> None:
    assert parse([], {"CHATBOT_STORE": 'the "old" one'}).store == 'the "old" one'
    assert parse([], {"CHATBOT_API_KEYS": f'"{SECRET}'}).api_keys == (f'"{SECRET}',)


def test_a_byte_order_mark_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^CHATBOT_STORE begins with a byte order mark; leave it out.$"):
        parse([], {"CHATBOT_STORE": "\ufeffconversations.sqlite3"})


@pytest.mark.parametrize("link", ["tcp://10.96.7.21:5000", "udp://10.96.7.21:5000", "TCP://[fd00::1]:80"])
def test_a_port_that_kubernetes_sets_for_a_service_of_our_name_is_no_setting(link: str) -> None:
    assert parse([], {"CHATBOT_PORT": link}) == ServiceConfig()
    assert parse(["--port", "81"], {"CHATBOT_PORT": link}).port == 81
    with pytest.raises(ConfigurationError, match=r"^--port is"):
        parse(["--port", link], {})


@pytest.mark.parametrize("flag", ["--store", "--models-dir", "--model", "--api-keys-file"])
def test_a_home_folder_that_is_not_there_is_named_with_the_flag(flag: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse([flag, "~nobodyhere/x"], {})
    assert str(refusal.value) == (
        f"{flag} is '~nobodyhere/x', and there is no home folder here; name a path without ~."
    )


@pytest.mark.parametrize("flag", ["--store", "--models-dir", "--model"])
def test_a_home_folder_stands_for_its_path(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert str(getattr(parse([flag, "~/x"], {}), FIELDS[flag])) == "/home/anna/x"


def test_the_settings_do_not_show_their_keys() -> None:
    config = parse([], {"CHATBOT_API_KEYS": SECRET})
    assert config.api_keys == (SECRET,)
    assert SECRET not in repr(config)


@pytest.mark.parametrize(("value", "origins"), [("any", ("*",)), ("*", ("*",)), ("none", ()), ("None", ())])
def test_any_origin_may_be_allowed_and_none(value: str, origins: tuple[str, ...]) -> None:
    assert parse(["--cors-origins", value], {}).cors_origins == origins


def test_help_lists_every_flag_with_its_default_and_its_variable_within_100_columns() -> None:
    finished = service("--help", COLUMNS="200")
    assert finished.returncode == 0
    for flag in FIELDS:
        assert f"  {flag} " in finished.stdout
        assert f"; {variable(flag)})" in finished.stdout
    assert finished.stdout.count("(default: ") == len(FIELDS)
    assert max(map(len, finished.stdout.splitlines())) <= 100
    for group in ("model:", "network:", "limits:", "conversations:", "security:", "logging"):
        assert f"\n{group}" in finished.stdout
