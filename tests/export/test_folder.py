"""The exported folder as stock Optimum and transformers see it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from export.parity import strip_padding
from tests.parity import reply

SENTENCES = (
    "Hello, how are you today?",
    "  two  spaces, a\ttab and\na newline ",
    "Ünïcödé, 中文 and 🙂",
    "Sam",
    "",
    "<mask> </s> <unk>",
)


def test_an_exported_folder_loads_in_the_stock_class_without_further_arguments_and_generates(any_export: Path) -> None:
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    model = ORTModelForSeq2SeqLM.from_pretrained(any_export)
    ids = reply(model, [5, 6, 7, 2], beams=model.generation_config.num_beams)
    assert model.use_cache
    assert ids[0] == 1
    assert ids[-1] == 2
    assert 20 <= len(ids) <= 60


def test_a_batch_of_padded_sources_gets_the_replies_of_each_source_alone(tiny_export: Path) -> None:
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_export), ORTModelForSeq2SeqLM.from_pretrained(tiny_export)
    sentences = ["Hi", "I went for a walk in the hills", "no"]
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        together = model.generate(**batch).tolist()
    alone = [reply(model, tokenizer(sentence).input_ids, beams=10) for sentence in sentences]
    assert [strip_padding(ids, 0) for ids in together] == alone


def test_generation_settings_are_the_checkpoints(any_export: Path, tiny_checkpoint: Path) -> None:
    exported, original = _settings(any_export), _settings(tiny_checkpoint)
    assert exported == original
    assert (exported["num_beams"], exported["min_length"], exported["max_length"]) == (10, 20, 60)
    assert (exported["no_repeat_ngram_size"], exported["encoder_no_repeat_ngram_size"]) == (3, 3)


def test_the_configuration_is_the_checkpoints(any_export: Path, tiny_checkpoint: Path) -> None:
    from transformers import BlenderbotConfig

    exported = BlenderbotConfig.from_pretrained(any_export)
    original = BlenderbotConfig.from_pretrained(tiny_checkpoint)
    for name in ("vocab_size", "d_model", "encoder_layers", "decoder_layers", "max_position_embeddings"):
        assert getattr(exported, name) == getattr(original, name)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_tokenizer_gives_the_ids_of_the_checkpoints(
    tiny_export: Path, tiny_checkpoint: Path, sentence: str
) -> None:
    from transformers import AutoTokenizer

    exported, original = AutoTokenizer.from_pretrained(tiny_export), AutoTokenizer.from_pretrained(tiny_checkpoint)
    ids = original(sentence).input_ids
    assert type(exported) is type(original)
    assert exported(sentence).input_ids == ids
    assert exported.decode(ids) == original.decode(ids)
    plain = exported(sentence, split_special_tokens=True).input_ids
    assert plain == original(sentence, split_special_tokens=True).input_ids


def test_the_folder_holds_the_manifest_the_files_it_lists_and_nothing_else(any_export: Path) -> None:
    assert {path.name for path in any_export.iterdir()} == {*_manifest(any_export)["files"], "manifest.json"}
    assert all(path.is_file() for path in any_export.iterdir())


def test_nothing_is_left_beside_the_folder(any_export: Path) -> None:
    assert not list(any_export.parent.glob(".*partial*"))


def test_the_manifest_holds_size_and_checksum_of_each_file(any_export: Path) -> None:
    files = _manifest(any_export)["files"]
    contents = {name: (any_export / name).read_bytes() for name in files}
    assert {name: record["size"] for name, record in files.items()} == {n: len(c) for n, c in contents.items()}
    assert {name: record["sha256"] for name, record in files.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }


def test_the_manifest_names_the_source_and_the_versions_that_made_the_export(
    any_export: Path, tiny_checkpoint: Path
) -> None:
    manifest = _manifest(any_export)
    assert manifest["format"] == 2
    assert manifest["name"] == "tiny"
    assert manifest["source"] == str(tiny_checkpoint)
    assert manifest["revision"] is None
    assert manifest["verification"] == {}
    assert {"optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime"} <= manifest["versions"].keys()
    assert all(version(package) == number for package, number in manifest["versions"].items())


@pytest.mark.parametrize(
    ("fixture", "precision", "outer_bits"),
    [("tiny_fp32_export", "none", None), ("tiny_export", "int8", 8), ("tiny_int4_export", "int4", 4)],
)
def test_the_manifest_says_how_the_weights_are_stored(
    request: pytest.FixtureRequest, fixture: str, precision: str, outer_bits: int | None
) -> None:
    quantization = _manifest(request.getfixturevalue(fixture))["quantization"]
    assert quantization["precision"] == precision
    assert quantization.get("outer_bits") == outer_bits
    assert quantization.get("output_projection_bits") == (8 if outer_bits else None)
    assert quantization.get("accuracy_level") == (4 if outer_bits else None)


def _manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "generation_config.json").read_text())
    del settings["transformers_version"]
    settings.pop("_from_model_config", None)
    return settings
