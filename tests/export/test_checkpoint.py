"""Checkpoints that cannot be exported: one sentence each, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from export.__main__ import run
from export.config import ExportConfig
from export.errors import CheckpointError
from export.progress import SILENT
from tests.export_child import ROOT, command, exported, refusal, run_export

WEIGHT = "model.decoder.layers.2.fc1.weight"


def _not_blenderbot(folder: Path) -> None:
    _edit(folder / "config.json", model_type="bart")


def _without_model_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))


def _impossible_shape(folder: Path) -> None:
    _edit(folder / "config.json", encoder_attention_heads=7)


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _config_not_json(folder: Path) -> None:
    (folder / "config.json").write_text("{'model_type': blenderbot")


def _config_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _config_nested_deeply(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)


def _config_a_folder(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


def _tokenizer_a_pipe(folder: Path) -> None:
    (folder / "merges.txt").unlink(missing_ok=True)
    os.mkfifo(folder / "merges.txt")


def _weights_a_device(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def _config_not_text(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")


def _generation_config_not_json(folder: Path) -> None:
    (folder / "generation_config.json").write_text("num_beams=10")


def _contradictory_settings(folder: Path) -> None:
    _edit(folder / "generation_config.json", do_sample=False, temperature=0.5)


def _without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()


def _tokenizer_not_json(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def _tokenizer_of_nothing(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _truncated(folder: Path) -> None:
    _cut(folder / "model.safetensors")


def _empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _truncated_pickle(folder: Path) -> None:
    _to_pickle(folder)
    _cut(folder / "pytorch_model.bin")


def _tensor_missing(folder: Path) -> None:
    _edit_weights(folder, lambda tensors: tensors.pop(WEIGHT))


def _embedding_missing(folder: Path) -> None:
    _edit_weights(folder, lambda tensors: tensors.pop("model.shared.weight"))


def _tensor_of_another_shape(folder: Path) -> None:
    _edit_weights(folder, lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT][:5].copy()}))


def _not_a_number(folder: Path) -> None:
    _edit_weights(folder, lambda tensors: tensors[WEIGHT].__setitem__((3, 4), float("nan")))


def _infinite(folder: Path) -> None:
    _edit_weights(folder, lambda tensors: tensors[WEIGHT].__setitem__((3, 4), float("inf")))


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _removed(folder: Path) -> None:
    shutil.rmtree(folder)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("checkpoint")


def _name(value: object) -> str:
    return getattr(value, "__name__", "-").strip("_")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_removed, "There is no folder"),
        (_config_not_json, "config.json"),
        (_not_blenderbot, "'bart'"),
        (_tokenizer_of_nothing, "tokenizer"),
        (_truncated, "weights"),
        (_tensor_missing, WEIGHT),
        (_not_a_number, WEIGHT),
    ],
    ids=_name,
)
def test_a_damaged_checkpoint_ends_the_export_with_one_line_and_writes_nothing(
    checkpoint: Path, target: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(checkpoint)
    message = refusal(run_export("--model", checkpoint, "--output-dir", target))
    assert named in message
    assert str(checkpoint) in message
    assert message.endswith(".")
    assert not target.parent.exists()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_a_file, "is a file"),
        (_emptied, "config.json"),
        (_without_config, "config.json"),
        (_config_a_list, "config.json"),
        (_config_nested_deeply, "config.json"),
        (_config_a_folder, "config.json is not a file"),
        (_tokenizer_a_pipe, "merges.txt is not a file"),
        (_weights_a_device, "model.safetensors is not a file"),
        (_config_not_text, "config.json"),
        (_without_model_type, "model_type"),
        (_impossible_shape, "config.json"),
        (_generation_config_not_json, "generation_config.json"),
        (_contradictory_settings, "temperature"),
        (_without_tokenizer, "holds no tokenizer"),
        (_tokenizer_not_json, "tokenizer.json"),
        (_without_weights, "holds no weights"),
        (_empty_weights, "weights"),
        (_truncated_pickle, "weights"),
        (_embedding_missing, "lack"),
        (_tensor_of_another_shape, WEIGHT),
        (_infinite, WEIGHT),
    ],
    ids=_name,
)
def test_whatever_is_wrong_with_a_checkpoint_is_said_in_one_sentence(
    checkpoint: Path, target: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(checkpoint)
    config = ExportConfig(str(checkpoint), None, "int8", target, force=False, verify=False)
    with pytest.raises(CheckpointError) as raised:
        run(config, SILENT)
    message = str(raised.value)
    assert named in message
    assert str(checkpoint) in message
    assert message.endswith(".")
    assert "\n" not in message
    assert not target.parent.exists()


def test_a_revision_is_refused_for_a_local_folder(tiny_checkpoint: Path, target: Path) -> None:
    message = refusal(run_export("--model", tiny_checkpoint, "--revision", "main", "--output-dir", target))
    assert "--revision" in message
    assert not target.parent.exists()


def test_an_old_checkpoint_with_pickled_weights_and_its_settings_in_the_config_gives_the_same_export(
    checkpoint: Path, target: Path, tiny_export: Path
) -> None:
    settings = json.loads((checkpoint / "generation_config.json").read_text())
    (checkpoint / "generation_config.json").unlink()
    _edit(checkpoint / "config.json", **settings)
    _to_pickle(checkpoint)
    assert exported(checkpoint, target, "int8") == target
    assert (target / "weights.bin").read_bytes() == (tiny_export / "weights.bin").read_bytes()
    found, expected = (json.loads((f / "generation_config.json").read_text()) for f in (target, tiny_export))
    found.pop("_from_model_config", None)
    assert found == expected


@pytest.mark.parametrize("tokenizer_class", ["Trap", "BlenderbotTokenizer"])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
def test_code_that_comes_with_a_checkpoint_is_not_run_and_nobody_is_asked(
    checkpoint: Path, target: Path, tmp_path: Path, tokenizer_class: str, file: str
) -> None:
    ran = tmp_path / "ran"
    (checkpoint / "trap.py").write_text(
        f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nfrom transformers import BlenderbotConfig\n"
        "from transformers import BlenderbotTokenizerFast as Trap\n"
    )
    _edit(checkpoint / "tokenizer_config.json", tokenizer_class=tokenizer_class)
    auto_map = {"AutoTokenizer": [None, "trap.Trap"], "AutoConfig": "trap.BlenderbotConfig"}
    _edit(checkpoint / file, auto_map=auto_map)
    ended = subprocess.run(
        command("--model", checkpoint, "--output-dir", target, "--check"),
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache")},
        input="y\n" * 20,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "[y/N]" not in ended.stdout
    assert not ran.exists()


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _edit_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = {name: tensor.copy() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _to_pickle(folder: Path) -> None:
    import torch

    tensors = load_file(folder / "model.safetensors")
    torch.save({name: torch.from_numpy(values) for name, values in tensors.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
