"""What `--check` passes is exported, and what is exported is served; the rest is refused before the work begins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.__main__ import run
from export.config import ExportConfig
from export.errors import ExportError
from export.progress import SILENT
from service.check import Kind, findings
from service.http.app import create_app
from service.serving.runtime import Runtime
from service.settings import ServiceConfig

PROMPT = "Hello, how are you today?"
MATRIX = "model.decoder.layers.2.fc1.weight"
# Settings that leave the reply of the tiny model what it is.
WITHOUT_BEARING: list[dict[str, Any]] = [
    {},
    {"use_cache": False},
    {"eos_token_id": [2], "forced_eos_token_id": [2]},
    {"return_dict_in_generate": True, "output_scores": True, "output_attentions": True},
    {"num_return_sequences": 3, "cache_implementation": "static"},
]
# Settings of config.json that say nothing of what the model computes.
LEFT_OUT: list[dict[str, Any]] = [
    {"eos_token_id": None},
    {"is_encoder_decoder": False},
    {"torchscript": True, "return_dict": False},
    {"layer_types": ["full_attention"]},
]

Change = Callable[[Path], None]


def edited(name: str, **values: object) -> Change:
    """Changes values of a JSON file of the checkpoint."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def generation(**values: object) -> Change:
    return edited("generation_config.json", **values)


def settings_in_the_config(folder: Path) -> None:
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    edited("config.json", **settings, use_cache=False)(folder)


def only_tokenizer_json(folder: Path) -> None:
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"):
        (folder / name).unlink(missing_ok=True)
    edited("tokenizer_config.json", tokenizer_class="TokenizersBackend", backend="tokenizers", is_local=True)(folder)


def with_tokens(*tokens: str, special: bool = False, resized: bool = False) -> Change:
    """Adds tokens to the tokenizer, and to the model if it is resized."""

    def change(folder: Path) -> None:
        from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(list(tokens), special_tokens=special)
        tokenizer.save_pretrained(folder)
        if resized:
            model = BlenderbotForConditionalGeneration.from_pretrained(folder)
            model.resize_token_embeddings(max(tokenizer.get_vocab().values()) + 1)
            model.save_pretrained(folder)

    return change


def tokenizer_of_another_model(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] |= {f"word{number}": number for number in range(300, 400)}
    path.write_text(json.dumps(content))


def tensors_changed(edit: Callable[[dict[str, Any]], object]) -> Change:
    """Changes the tensors of the checkpoint, as torch has them."""

    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def of_type(name: str) -> Change:
    import torch

    kind = getattr(torch, name)
    return tensors_changed(lambda tensors: tensors.update({key: value.to(kind) for key, value in tensors.items()}))


def one_as_integers(folder: Path) -> None:
    import torch

    tensors_changed(lambda tensors: tensors.update({MATRIX: (tensors[MATRIX] * 100).to(torch.int8)}))(folder)


def without_prefix(tensors: dict[str, Any]) -> None:
    for name in list(tensors):
        tensors[name.removeprefix("model.")] = tensors.pop(name)
    del tensors["final_logits_bias"]


def untied(folder: Path) -> None:
    edited("config.json", tie_word_embeddings=False)(folder)
    tensors_changed(lambda tensors: tensors.update({"lm_head.weight": -tensors["model.shared.weight"]}))(folder)


def not_a_number(tensors: dict[str, Any]) -> None:
    tensors[MATRIX][3, 4] = float("nan")


def in_shards(suffix: str, damage: Change = lambda folder: None) -> Change:
    """Splits the weights into two files with an index, and does something to them."""

    def change(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        places: dict[str, str] = {}
        for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
            part = {name: tensors[name] for name in names}
            stem = "model" if suffix == "safetensors" else "pytorch_model"
            file = folder / f"{stem}-0000{number}-of-00002.{suffix}"
            save_file(part, file, metadata={"format": "pt"}) if suffix == "safetensors" else torch.save(part, file)
            places |= dict.fromkeys(names, file.name)
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
        damage(folder)

    return change


def without_last_shard(folder: Path) -> None:
    next(folder.glob("*-00002-of-*")).unlink()


def with_half_a_shard(folder: Path) -> None:
    shard = next(folder.glob("*-00002-of-*"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def with_a_shard_elsewhere(folder: Path) -> None:
    index = next(folder.glob("*.index.json"))
    shard = next(folder.glob("*-00002-of-*"))
    shard.rename(folder.parent / shard.name)
    index.write_text(index.read_text().replace(shard.name, f"../{shard.name}"))


def in_an_old_pickle(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()


def pickled_as_parameters(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    torch.save({name: torch.nn.Parameter(value) for name, value in tensors.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


class Trap:
    """Makes a folder where the export would, when something unpickles it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


def pickled_with_code(folder: Path) -> None:
    import torch

    torch.save({MATRIX: Trap(folder.parent / "out")}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def a_link_to_nowhere(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder.parent / "absent")

    return change


def cloned_without_lfs(folder: Path, name: str = "model.safetensors") -> None:
    """What git leaves in place of a large file where Git LFS is not installed."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 729868841\n"
    (folder / name).write_text(pointer)


def with_a_shard_cloned_without_lfs(folder: Path) -> None:
    cloned_without_lfs(folder, "model-00002-of-00002.safetensors")


def only_vocab_json(folder: Path) -> None:
    for name in ("tokenizer.json", "merges.txt"):
        (folder / name).unlink()


def wrapped(tensors: dict[str, Any]) -> None:
    for name in list(tensors):
        tensors[f"module.{name}"] = tensors.pop(name)


def replaced_by_a_page(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin").write_bytes(b"<html>")


def read_only(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


EXPORTED: dict[str, Change] = {
    **{f"generation settings {settings}": generation(**settings) for settings in WITHOUT_BEARING},
    "settings in config.json": settings_in_the_config,
    "replies as long as the positions": generation(max_length=128),
    "a least length above the greatest": generation(min_length=70),
    "no start token but bos": generation(decoder_start_token_id=None),
    "special tokens as transformers 5 writes them": edited(
        "tokenizer_config.json", extra_special_tokens=["<persona>"], tokenizer_class="TokenizersBackend"
    ),
    "a tokenizer of transformers 5 in one file": only_tokenizer_json,
    "a special token past the embeddings": with_tokens("<persona>", special=True),
    "tokens that the model was resized for": with_tokens("brb", "lol", resized=True),
    "embeddings that are not scaled": edited("config.json", scale_embedding=False),
    **{f"{setting} in config.json": edited("config.json", **setting) for setting in LEFT_OUT},
    "a tokenizer that names no class": edited("tokenizer_config.json", tokenizer_class=None),
    "weights pickled as parameters": pickled_as_parameters,
    "weights of float32": of_type("float32"),
    "weights of float64": of_type("float64"),
    "weights of bfloat16": of_type("bfloat16"),
    "weights in several files": in_shards("safetensors"),
    "pickled weights in several files": in_shards("bin"),
    "weights that torch pickled before 1.6": in_an_old_pickle,
    "weights of the model without its output projection": tensors_changed(without_prefix),
    "an output projection of its own": untied,
    "a folder that cannot be written": read_only,
}
SAME_REPLY = {
    *(f"generation settings {settings}" for settings in WITHOUT_BEARING),
    "settings in config.json",
    "special tokens as transformers 5 writes them",
    "a tokenizer of transformers 5 in one file",
    "no start token but bos",
    *(f"{setting} in config.json" for setting in LEFT_OUT),
    "a tokenizer that names no class",
    "weights pickled as parameters",
    "weights of float32",
    "weights of float64",
    "weights in several files",
    "pickled weights in several files",
    "weights that torch pickled before 1.6",
    "a folder that cannot be written",
}
REFUSED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "replies longer than the positions": (
        generation(max_length=129),
        ("generation_config.json", "max_length is 129, and this model has 128 positions"),
    ),
    "new tokens beyond the positions": (generation(max_new_tokens=128), ("generation_config.json", "128 positions")),
    "sampling with beams": (generation(do_sample=True), ("generation_config.json", "do_sample")),
    "several end tokens": (generation(eos_token_id=[2, 0]), ("generation_config.json", "eos_token_id")),
    "banned words": (generation(bad_words_ids=[[5]]), ("generation_config.json", "bad_words_ids")),
    "suppressed tokens": (generation(suppress_tokens=[5]), ("generation_config.json", "suppress_tokens")),
    "a time limit": (generation(max_time=1.5), ("generation_config.json", "max_time")),
    "an unknown setting": (generation(politeness=3), ("generation_config.json", "politeness")),
    "no end token": (generation(eos_token_id=None), ("generation_config.json", "eos_token_id")),
    "an end token past the embeddings": (generation(eos_token_id=300), ("generation_config.json", "300 embeddings")),
    "an end token that is a text": (generation(eos_token_id="</s>"), ("generation_config.json", "eos_token_id")),
    "a forced end token past the embeddings": (
        generation(forced_eos_token_id=300),
        ("generation_config.json", "forced_eos_token_id 300", "300 embeddings"),
    ),
    "no number of beams": (
        generation(num_beams=None, length_penalty=1.0),
        ("generation_config.json", "num_beams=None"),
    ),
    "a penalty beyond all numbers": (generation(length_penalty=1e300), ("generation_config.json", "length_penalty")),
    "generation settings that lead nowhere": (
        a_link_to_nowhere("generation_config.json"),
        ("generation_config.json is not a file",),
    ),
    "weights that lead nowhere": (a_link_to_nowhere("model.safetensors"), ("model.safetensors is not a file",)),
    "weights cloned without Git LFS": (cloned_without_lfs, ("model.safetensors only points to", "git lfs pull")),
    "a file of weights cloned without Git LFS": (
        in_shards("safetensors", with_a_shard_cloned_without_lfs),
        ("model-00002-of-00002.safetensors only points to", "git lfs pull"),
    ),
    "weights with the names of a trainer": (tensors_changed(wrapped), ("lack model.shared.weight", "save_pretrained")),
    "a tokenizer without an end token": (
        edited("tokenizer_config.json", eos_token=None),
        ("tokenizer", "no eos_token", "tokenizer_config.json"),
    ),
    "weights that run code when they are unpickled": (pickled_with_code, ("pytorch_model.bin cannot be read",)),
    "half a tokenizer": (only_vocab_json, ("holds no tokenizer", "merges.txt")),
    "a start token that is half a one": (generation(decoder_start_token_id=1.5), ("decoder_start_token_id",)),
    "tokens that the model was not resized for": (with_tokens("brb", "lol"), ('token 301 of "brb"', "300 embeddings")),
    "another model's tokenizer": (tokenizer_of_another_model, ("token 300", "300 embeddings")),
    "another activation": (
        edited("config.json", activation_function="relu"),
        ("config.json", "activation_function", '"relu"'),
    ),
    "a tanh activation": (
        edited("config.json", activation_function="gelu_new"),
        ("config.json", "activation_function", '"gelu_new"'),
    ),
    "other heads in the encoder": (
        edited("config.json", encoder_attention_heads=2),
        ("config.json", "encoder_attention_heads", "decoder_attention_heads"),
    ),
    "no layers": (edited("config.json", decoder_layers=0), ("config.json", "decoder_layers is 0")),
    "half a layer": (edited("config.json", encoder_layers=1.5), ("config.json", "encoder_layers is 1.5")),
    "a width that is no number": (
        edited("config.json", decoder_ffn_dim=True),
        ("config.json", "decoder_ffn_dim is True"),
    ),
    "more layers than can be": (edited("config.json", decoder_layers=10**12), ("config.json", "decoder_layers")),
    "a width beyond all memory": (edited("config.json", d_model=10**12), ("config.json", "d_model")),
    "a width by its other name": (edited("config.json", hidden_size=10**12), ("config.json", "d_model")),
    "labels that take an hour to name": (
        edited("config.json", num_labels=10**12),
        ("config.json", "num_labels is 1000"),
    ),
    "a setting in place of a method": (edited("config.json", save_pretrained=1), ("config.json", "save_pretrained")),
    "a setting in place of a property": (edited("config.json", use_return_dict=1), ("config.json", "use_return_dict")),
    "a tokenizer that takes an hour to make": (
        edited("tokenizer_config.json", tokenizer_class="T5Tokenizer", extra_ids=10**12),
        ("tokenizer files", "extra_ids is 1000"),
    ),
    "more beams than fit": (generation(num_beams=10**12), ("generation_config.json", "num_beams")),
    "a padding token that is a text": (edited("config.json", pad_token_id="<pad>"), ("config.json",)),
    "a padding token past the embeddings": (edited("config.json", pad_token_id=10**6), ("config.json",)),
    "as many heads as do not fit": (
        edited("config.json", encoder_attention_heads=3, decoder_attention_heads=3),
        ("config.json", "d_model", "heads"),
    ),
    "weights of integers": (one_as_integers, (MATRIX, "int8")),
    "a weight that is no number": (tensors_changed(not_a_number), (MATRIX, "not finite")),
    "a weight of another shape": (
        tensors_changed(lambda tensors: tensors.update({MATRIX: tensors[MATRIX][:5].clone()})),
        (MATRIX, "[5, 128]", "[256, 128]"),
    ),
    "a file of weights that is not there": (
        in_shards("safetensors", without_last_shard),
        ("lacks model-00002-of-00002.safetensors",),
    ),
    "half a file of weights": (in_shards("safetensors", with_half_a_shard), ("model-00002-of-00002.safetensors",)),
    "half a file of pickled weights": (in_shards("bin", with_half_a_shard), ("pytorch_model-00002-of-00002.bin",)),
    "a page in place of pickled weights": (
        replaced_by_a_page,
        ("pytorch_model.bin cannot be read (Weights only load failed);",),
    ),
    "an index that names a file elsewhere": (
        in_shards("safetensors", with_a_shard_elsewhere),
        ("model.safetensors.index.json",),
    ),
    "weights quantised before": (
        edited("config.json", quantization_config={"load_in_8bit": True, "quant_method": "bitsandbytes"}),
        ("config.json", "quantization_config"),
    ),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_what_check_passes_is_exported_and_served(checkpoint: Path, target: Path, tiny_reply: str, name: str) -> None:
    EXPORTED[name](checkpoint)
    config = to_export(checkpoint, target)
    run(replace(config, check=True), SILENT)
    run(config, SILENT)
    found = findings(ServiceConfig(model=str(target), port=0, store="memory"))
    assert [finding.sentence for finding in found if finding.kind is Kind.PROBLEM] == []
    reply = answer(target)
    assert reply
    assert name not in SAME_REPLY or reply == tiny_reply


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_by_check_and_before_the_first_stage_in_the_same_words(
    checkpoint: Path, target: Path, name: str
) -> None:
    change, named = REFUSED[name]
    change(checkpoint)
    config = to_export(checkpoint, target)
    with pytest.raises(ExportError) as checked:
        run(replace(config, check=True), SILENT)
    message = str(checked.value)
    assert all(word in message for word in named), message
    assert "\n" not in message
    assert message.endswith(".")
    with pytest.raises(ExportError) as ran:
        run(config, SILENT)
    assert str(ran.value) == message
    assert not target.parent.exists()


def to_export(checkpoint: Path, target: Path) -> ExportConfig:
    return ExportConfig(str(checkpoint), None, "int8", target, force=False, verify=False)


@pytest.fixture(scope="session")
def tiny_reply(tiny_export: Path) -> str:
    """What the tiny model says to `PROMPT`."""
    return answer(tiny_export)


def answer(folder: Path) -> str:
    """Serve an export and send it one message."""
    runtime = Runtime(ServiceConfig(store="memory"))
    runtime.host.serve(folder, "")
    response = create_app(runtime).test_client().post("/chatbot", json={"prompt": PROMPT})
    assert response.status_code == 200, response.text
    return response.text
