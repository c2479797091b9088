"""Our subclass can be used wherever the stock class can."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from onnxruntime import SessionOptions
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import AutoTokenizer, GenerationConfig, pipeline

from models import manifest
from models.folder import ENCODER, MERGED_DECODER, ModelFolderError
from service.engine.errors import UnsupportedSetting
from service.engine.kernels.library import STOCK
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.parity import stock_model

IDS = torch.tensor([[9, 17, 30, 9, 17, 30, 41, 2], [8, 20, 2, 0, 0, 0, 0, 0]])
MASK = (IDS != 0).long()
DECODER_IDS = torch.tensor([[1, 5, 9, 44, 7], [1, 8, 8, 20, 3]])
TEXTS = ["Hello, how are you today?", "I like trains."]
SHORT: dict[str, Any] = {"min_length": 3, "max_length": 24}


@pytest.fixture(scope="module")
def stock(tiny_fp32_export: Path) -> Any:
    return stock_model(tiny_fp32_export)


@pytest.fixture
def ours(tiny_fp32_export: Path) -> ORTBlenderbotForConditionalGeneration:
    return ORTBlenderbotForConditionalGeneration.from_pretrained(tiny_fp32_export, threads=1)


@pytest.fixture
def folder(tiny_fp32_export: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(tiny_fp32_export, tmp_path / "model")


def test_it_has_what_the_stock_class_has(ours: Any, stock: Any) -> None:
    assert isinstance(ours, ORTModelForSeq2SeqLM)
    assert set(vars(stock)) <= set(vars(ours))
    for name in ("device", "dtype", "provider", "providers", "use_io_binding", "main_input_name", "can_use_cache"):
        assert getattr(ours, name) == getattr(stock, name), name
    assert ours.can_generate() == stock.can_generate()
    for name in (part for part in dir(stock.decoder) if not part.startswith("_")):
        assert hasattr(ours.decoder, name), name


def test_its_logits_are_those_of_the_stock_class(ours: Any, stock: Any) -> None:
    found, expected = (
        model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS) for model in (ours, stock)
    )
    assert found.logits.shape == expected.logits.shape == (*DECODER_IDS.shape, 300)
    assert torch.allclose(found.logits, expected.logits, atol=1e-4)
    assert torch.allclose(found.encoder_last_hidden_state, expected.encoder_last_hidden_state, atol=1e-4)


def test_its_logits_with_keys_and_values_of_earlier_tokens_are_those_of_all_tokens_at_once(ours: Any) -> None:
    whole = ours(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS)
    first = ours(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS[:, :3], use_cache=True)
    rest = ours(
        attention_mask=MASK,
        encoder_outputs=(type("Encoded", (), {"last_hidden_state": first.encoder_last_hidden_state})()),
        decoder_input_ids=DECODER_IDS[:, 3:],
        past_key_values=first.past_key_values,
        use_cache=True,
    )
    assert torch.allclose(rest.logits, whole.logits[:, 3:], atol=1e-4)


def test_the_stock_loop_runs_over_its_forward_and_gives_what_its_own_gives(ours: Any, stock: Any) -> None:
    settings = SHORT | {"num_beams": 4}
    expected = stock.generate(IDS, attention_mask=MASK, **settings)
    assert torch.equal(ORTModelForSeq2SeqLM.generate(ours, IDS, attention_mask=MASK, **settings), expected)
    assert torch.equal(ours.generate(IDS, attention_mask=MASK, **settings), expected)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 1}, {"num_beams": 10, "length_penalty": 2.0}, {"top_k": 5}])
def test_it_passes_as_the_stock_class_in_the_pipeline_of_transformers(
    ours: Any, stock: Any, tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    expected = pipeline("text2text-generation", model=stock, tokenizer=tokenizer)(TEXTS, **SHORT, **settings)
    caplog.clear()
    chat = pipeline("text2text-generation", model=ours, tokenizer=tokenizer)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert chat(TEXTS, **SHORT, **settings) == expected


def test_the_pipeline_is_refused_by_name_what_is_not_done(ours: Any, tiny_checkpoint: Path) -> None:
    chat = pipeline("text2text-generation", model=ours, tokenizer=AutoTokenizer.from_pretrained(tiny_checkpoint))
    with pytest.raises(UnsupportedSetting, match="num_return_sequences=2"):
        chat(TEXTS, num_return_sequences=2, num_beams=2)


def test_the_stock_graphs_are_loaded_when_they_are_first_used(folder: Path) -> None:
    ours = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=1)
    (folder / MERGED_DECODER).unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert pipeline("text2text-generation", model=ours, tokenizer=tokenizer)(TEXTS, **SHORT)
    assert ours.to("cpu").device.type == "cpu"
    assert ours.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state.shape[:2] == IDS.shape
    with pytest.raises(ModelFolderError, match=rf"{MERGED_DECODER} is missing"):
        ours(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS)


def test_what_it_saves_can_be_served_and_loads_in_both_classes(ours: Any, tmp_path: Path) -> None:
    ours.generation_config.num_beams = 3
    target = tmp_path / "saved"
    ours.save_pretrained(target)
    manifest.check(target)
    expected = ours.generate(IDS, **SHORT)
    for kind in (ORTModelForSeq2SeqLM, ORTBlenderbotForConditionalGeneration):
        loaded = kind.from_pretrained(target)
        assert loaded.generation_config.num_beams == 3
        assert torch.equal(loaded.generate(IDS, **SHORT), expected)


def test_it_can_be_saved_where_it_was_loaded_from(folder: Path) -> None:
    ours = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=1)
    ours.generation_config.num_beams = 3
    ours.save_pretrained(folder)
    manifest.check(folder)
    assert ORTBlenderbotForConditionalGeneration.from_pretrained(folder, threads=1).settings.num_beams == 3


def test_generation_settings_may_be_changed_after_loading(ours: Any, stock: Any) -> None:
    ours.generation_config.num_beams = stock.generation_config.num_beams = 2
    try:
        assert torch.equal(ours.generate(IDS, **SHORT), stock.generate(IDS, **SHORT))
    finally:
        stock.generation_config.num_beams = 10


def test_it_takes_the_arguments_of_the_stock_class(tiny_fp32_export: Path, stock: Any) -> None:
    options = SessionOptions()
    options.intra_op_num_threads = 1
    ours = ORTBlenderbotForConditionalGeneration.from_pretrained(
        tiny_fp32_export.parent,
        stock.config,
        subfolder=tiny_fp32_export.name,
        session_options=options,
        providers=["CPUExecutionProvider"],
        use_io_binding=True,
        use_cache=False,
        generation_config=GenerationConfig(decoder_start_token_id=1, eos_token_id=2, pad_token_id=0, num_beams=2),
        local_files_only=True,
        revision="main",
    )
    output = ours(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS)
    expected = stock(input_ids=IDS, attention_mask=MASK, decoder_input_ids=DECODER_IDS, use_cache=True)
    assert output.past_key_values is None
    assert torch.allclose(output.logits, expected.logits, atol=1e-4)
    assert ours.use_io_binding
    assert ours.settings.num_beams == 2
    assert len(ours.generate(IDS)) == len(IDS)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"provider": "CUDAExecutionProvider"}, "CUDAExecutionProvider"),
        ({"export": True}, "python -m export"),
        ({"decoder_file_name": "decoder_model.onnx"}, "decoder_file_name"),
        ({"use_merged": False}, "use_merged"),
    ],
)
def test_what_it_does_not_do_is_refused_by_name(tiny_export: Path, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ORTBlenderbotForConditionalGeneration.from_pretrained(tiny_export, **arguments)


def test_another_device_is_refused(ours: Any) -> None:
    with pytest.raises(ValueError, match="cuda"):
        ours.to("cuda")


def test_a_missing_encoder_is_told_when_it_is_loaded(folder: Path) -> None:
    ours = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, kernels=STOCK)
    (folder / ENCODER).unlink()
    with pytest.raises(ModelFolderError, match=f"{ENCODER} is missing"):
        ours.encoder(input_ids=IDS, attention_mask=MASK)
