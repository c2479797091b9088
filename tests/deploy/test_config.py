"""Settings of many replicas."""

from __future__ import annotations

from datetime import date
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from deploy import config
from deploy.config import ReplicaConfig
from service.engine.machine import available_cores
from service.errors import ConfigurationError
from tests.service.process import ROOT


def read(*arguments: str, **environment: str) -> ReplicaConfig:
    return config.parse(arguments, environment)


def test_replicas_take_the_settings_of_the_service() -> None:
    found = read("--replicas", "3", "--rows", "20", CHATBOT_STORE="redis://store:6379/1", CHATBOT_MAX_REPLICAS="5")
    assert (found.replicas, found.max_replicas, found.max_running, found.scales) == (3, 5, 5, True)
    assert (found.service.rows, found.service.store) == (20, "redis://store:6379/1")


def test_by_default_two_of_them_share_the_cores() -> None:
    found = read()
    assert (found.replicas, found.max_running, found.scales) == (2, 2, False)
    assert found.replica.threads == max(1, available_cores() // 2)
    assert read("--threads", "3").replica.threads == 3


def test_a_file_of_ray_names_them_like_the_flags() -> None:
    found = config.from_mapping({"model": "demo", "replicas": 4, "max-replicas": 8, "deadline": 12.5})
    assert (found.replicas, found.max_replicas, found.service.deadline_s) == (4, 8, 12.5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--replicas", "0"), "--replicas is '0'; it takes a whole number from 1 to 1000."),
        (("--replicas", "4", "--max-replicas", "2"), "--max-replicas 2 is less than --replicas 4"),
        (("--store", "memory"), "redis://127.0.0.1:6379/0"),
        (("--replica", "4"), "python -m deploy --help lists the flags."),
        (("--queue", "no"), "--queue is 'no'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(*arguments)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


KEYS = ["kkkkkkkkkkkkkkkk", "llllllllllllllll"]


def test_null_in_a_file_is_the_default() -> None:
    settings = {option.flag.removeprefix("--"): None for option in config.OPTIONS.values()}
    assert config.from_mapping(settings, {}) == ReplicaConfig()


def test_types_of_a_file_are_read_as_the_settings_take_them() -> None:
    settings = {
        "api-keys": KEYS,
        "cors-origins": ["https://a.example", "https://b.example"],
        "trusted-proxies": ("10.0.0.0/8", "192.168.0.1"),
        "shared-history": True,
        "check": False,
        "threads": 2,
        "deadline": 1.5,
    }
    found = config.from_mapping(settings, {}).service
    assert found.api_keys == tuple(KEYS)
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert len(found.trusted_proxies) == 2
    assert (found.shared_history, found.check, found.threads, found.deadline_s) == (True, False, 2, 1.5)
    assert config.from_mapping({"trusted-proxies": []}, {}).service.trusted_proxies == ()


def test_a_file_wins_over_the_environment_which_holds_where_it_says_null() -> None:
    environment = {"CHATBOT_THREADS": "3", "CHATBOT_ROWS": "30", "CHATBOT_METRICS_PORT": "tcp://10.0.0.1:9400"}
    found = config.from_mapping({"threads": 2, "rows": None}, environment)
    assert (found.threads, found.service.rows, found.metrics_port) == (2, 30, 9400)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"store": {}}, "store is a dict, and takes text or a number."),
        ({"model": ["a", "b"]}, "model is a list, and takes one value."),
        ({"threads": [2]}, "threads is a list, and takes one value."),
        ({"store": True}, "store is true or false in the file; put quotes around a word that is meant as text."),
        ({"api-keys": {"kkkkkkkkkkkkkkkk": None}}, "api-keys is a dict, and takes text or a number."),
        ({"api-keys": [KEYS]}, "api-keys is a list that holds something else than text."),
        ({"api-keys": [None]}, "api-keys is a list that holds something else than text."),
        ({"api-keys": [f"'{KEYS[0]}'"]}, "api-keys has quotes around it; leave them out."),
        ({"api-keys": []}, "api-keys is not right (it is not shown)"),
        ({"model": date(2026, 1, 1)}, "model is a date, and takes text or a number."),
        ({"threads": "--check"}, "threads is '--check'; it takes a whole number"),
        ({"port": 5000.5}, "port is '5000.5'; it takes a whole number"),
        ({"replica": 2}, "There is no setting replica; python -m deploy --help lists them."),
        ({True: 2}, "There is no setting True; "),
    ],
)
def test_types_that_a_setting_cannot_be_are_refused_by_its_name(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        config.from_mapping(settings, {})
    assert str(error.value).startswith(told)
    assert KEYS[0] not in str(error.value)


def test_all_that_is_wrong_in_a_file_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        config.from_mapping({"store": {}, "threads": "no", "nothing": 1}, {"CHATBOT_QUEUE": "none"})
    assert len(str(error.value).splitlines()) == 4


def test_one_replica_may_keep_its_conversations_to_itself() -> None:
    assert read("--store", "memory", "--replicas", "1").service.store == "memory"


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read("--help")
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(option.flag in told and option.variable in told for option in config.OPTIONS.values())
    assert "python -m deploy [flags]" in told


def test_the_models_folder_is_a_setting_too(tmp_path: Path) -> None:
    assert read("--models-dir", str(tmp_path)).replica.models_dir == tmp_path


def test_the_file_for_a_cluster_has_settings_that_are_right() -> None:
    content = yaml.safe_load((ROOT / "deploy" / "ray_serve.yaml").read_text(encoding="utf-8"))
    ServeDeploySchema.model_validate(content)
    application = content["applications"][0]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    found = config.from_mapping(application["args"])
    assert (found.replicas, found.max_running, found.threads) == (2, 2, 2)
    # Whoever waits for a reply is told by the service before Ray ends the wait.
    assert 0 < content["http_options"]["request_timeout_s"] - found.service.deadline_s <= 15
    assert found.service.store.startswith("redis://")
