"""Settings of many replicas."""

from __future__ import annotations

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
    assert (found.replicas, found.max_replicas, found.most, found.scales) == (3, 5, 5, True)
    assert (found.service.rows, found.service.store) == (20, "redis://store:6379/1")


def test_by_default_two_of_them_share_the_cores() -> None:
    found = read()
    assert (found.replicas, found.most, found.scales) == (2, 2, False)
    assert found.each.threads == max(1, available_cores() // 2)
    assert read("--threads", "3").each.threads == 3


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
    assert read("--models-dir", str(tmp_path)).each.models_dir == tmp_path


def test_the_file_for_a_cluster_has_settings_that_are_right() -> None:
    content = yaml.safe_load((ROOT / "deploy" / "ray_serve.yaml").read_text(encoding="utf-8"))
    ServeDeploySchema.model_validate(content)
    application = content["applications"][0]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), name))
    found = config.from_mapping(application["args"])
    assert (found.replicas, found.most, found.threads) == (2, 16, 2)
    assert found.service.store.startswith("redis://")
