"""The ways in which people name a model of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.check import Kind, model
from service.errors import ConfigurationError
from service.hub import NoModel, read_name
from service.settings import ServiceConfig, parse
from tests.export_child import refusal, run_export

ID = "facebook/blenderbot-400M-distill"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        f"{ID}/",
        f"{ID}@main",
        f"https://huggingface.co/{ID}",
        f"https://huggingface.co/{ID}/",
        f"http://www.huggingface.co/{ID}",
        f"HTTPS://HuggingFace.co/{ID}",
        f"huggingface.co/{ID}",
        f"hf.co/{ID}",
        f"https://hf.co/{ID}.git",
        f"hf://{ID}",
        f"hf://{ID}@main/config.json",
        f"https://huggingface.co/{ID}/tree/main",
        f"https://huggingface.co/{ID}/blob/main/config.json",
        f"https://huggingface.co/{ID}/resolve/main/pytorch_model.bin?download=true",
        f"https://huggingface.co/{ID}?library=transformers#usage",
        f"https://huggingface.co/{ID}/discussions/3",
        f"https://huggingface.co/api/models/{ID}",
        f"https://user:token@huggingface.co/{ID}",
        f"git@hf.co:{ID}",
        f"ssh://git@hf.co/{ID}.git",
        "models--facebook--blenderbot-400M-distill",
        "https://huggingface.co/facebook%2Fblenderbot-400M-distill",
    ],
)
def test_an_address_stands_for_its_id(text: str) -> None:
    assert read_name(text) == ID
    assert parse(["--model", text], {}).model == ID


def test_an_address_of_the_mirror_in_use_stands_for_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoModel):
        read_name(f"https://mirror.example:8443/{ID}")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example:8443")
    assert read_name(f"https://mirror.example:8443/{ID}") == ID
    assert read_name(f"https://huggingface.co/{ID}") == ID


@pytest.mark.parametrize(
    "text", ["auto", "demo", "some-word", "models/x-int8", "/srv/models/x", "./x", "../a/b/", "~/x"]
)
def test_other_names_stay_as_they_are(text: str) -> None:
    assert read_name(text) == text


def test_a_folder_that_is_there_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("hf.co/owner/model", "owner/model/", "models--owner--model"):
        (tmp_path / name).mkdir(parents=True)
        assert read_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/owner/model",
        "ftp://example.com/owner/model",
        "https://huggingface.co",
        "https://huggingface.co/",
        "https://huggingface.co/facebook",
        "https://huggingface.co/datasets/owner/data",
        "https://huggingface.co/spaces/owner/space",
        "https://huggingface.co/models?search=blenderbot",
        "https://huggingface.co/docs/transformers",
        "hf://",
        "hf://datasets/owner/data",
    ],
)
def test_an_address_of_something_else_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(["--model", text], {})
    assert str(refused.value).startswith(f"--model is '{text}', which ")
    assert str(refused.value).endswith(f"; give an id such as {ID}.")


def test_an_export_refuses_an_address_of_something_else_too() -> None:
    told = refusal(run_export("--model", "https://huggingface.co/datasets/owner/data", "--check"), code=2)
    assert f"which names no model of the Hub; give an id such as {ID}" in told


@pytest.mark.parametrize("text", [f"https://huggingface.co/{ID}/tree/v2", f"hf://{ID}@v2", f"{ID}@v2"])
def test_an_address_of_another_revision_is_told_how_to_export_it(text: str) -> None:
    with pytest.raises(NoModel, match=f"python -m export --model {ID} --revision v2, and serve"):
        read_name(text)


def test_an_export_of_an_address_asks_the_hub_for_its_id(tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    message = refusal(run_export("--model", f"https://hf.co/{ID}", "--check", environment=environment))
    assert f"so {ID} cannot be downloaded" in message


def test_a_word_that_is_no_folder_is_told_what_an_id_looks_like() -> None:
    (finding,) = model(ServiceConfig(model="blenderbot"))
    assert finding.kind is Kind.PROBLEM
    assert "There is no folder blenderbot" in finding.sentence
    assert f"owner/name, such as {ID}" in finding.sentence
    assert "python -m export" not in finding.sentence
    told = refusal(run_export("--model", "blenderbot", "--check"))
    assert told == f"There is no folder blenderbot, and Hub ids are owner/name, such as {ID}."


def test_a_folder_with_a_checkpoint_in_it_is_told_which_to_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (finding,) = model(ServiceConfig(model="models/demo"))
    assert "python -m export --model models/demo/checkpoint and serve" in finding.sentence
    (finding,) = model(ServiceConfig(model=str(tiny_checkpoint)))
    assert f"python -m export --model {tiny_checkpoint} and serve" in finding.sentence
    (finding,) = model(ServiceConfig(model=str(tmp_path)))
    assert "--model" not in finding.sentence
    assert refusal(run_export("--model", "models/demo", "--check", "--output-dir", str(tmp_path / "exported"))) == (
        "models/demo is not a checkpoint: it holds no config.json; models/demo/checkpoint is one."
    )
