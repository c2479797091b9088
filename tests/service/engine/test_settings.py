"""What `generate` may be asked for, what it refuses, and what leaving things out means."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from service.engine.errors import UnsupportedSetting
from service.engine.settings import (
    IGNORED,
    NEUTRAL,
    NEW_TOKENS,
    UNSET_MAX_LENGTH,
    WITHOUT_BEARING,
    DecodingSettings,
)
from service.ort_model import ORTBlenderbotForConditionalGeneration
from tests.service.engine.comparison import until_end
from tests.service.engine.parity_cases import END, Pair

# generation_config.json of facebook/blenderbot-400M-distill on the Hub.
BLENDERBOT_400M = {
    "_from_model_config": True,
    "bos_token_id": 1,
    "decoder_start_token_id": 1,
    "encoder_no_repeat_ngram_size": 3,
    "eos_token_id": 2,
    "forced_eos_token_id": 2,
    "length_penalty": 0.65,
    "max_length": 60,
    "min_length": 20,
    "no_repeat_ngram_size": 3,
    "num_beams": 10,
    "pad_token_id": 0,
    "transformers_version": "4.27.0.dev0",
}
KNOWN = {field.name for field in fields(DecodingSettings)}
SOURCE = torch.tensor([[5, 9, 11, 17, 9, 11, 2]])


def reply(model: Any, **arguments: Any) -> tuple[int, ...]:
    return until_end(model.generate(SOURCE, **arguments)[0].tolist(), END)


def test_the_400m_model_brings_its_own_settings() -> None:
    assert DecodingSettings.from_generation_config(BLENDERBOT_400M) == DecodingSettings(
        num_beams=10,
        min_length=20,
        max_length=60,
        length_penalty=0.65,
        no_repeat_ngram_size=3,
        encoder_no_repeat_ngram_size=3,
        forced_eos_token_id=2,
    )


@pytest.mark.parametrize("name", sorted(WITHOUT_BEARING))
def test_what_changes_no_token_of_one_reply_may_stand_in_a_models_own_settings_but_not_be_asked_for(name: str) -> None:
    value = not GenerationConfig().to_dict()[name]
    settings = DecodingSettings.from_generation_config({**BLENDERBOT_400M, name: value})
    assert settings == DecodingSettings.from_generation_config(BLENDERBOT_400M)
    with pytest.raises(UnsupportedSetting, match=rf"\b{name}="):
        DecodingSettings().override({name: value})


def test_one_end_token_in_a_list_is_that_token() -> None:
    listed = DecodingSettings.from_generation_config({"eos_token_id": [7], "forced_eos_token_id": [8]})
    assert (listed.eos_token_id, listed.forced_eos_token_id) == (7, 8)
    for name in ("eos_token_id", "forced_eos_token_id"):
        with pytest.raises(UnsupportedSetting, match=name):
            DecodingSettings.from_generation_config({name: [7, 8]})


def test_what_asks_for_nothing_are_the_defaults_of_transformers() -> None:
    defaults = GenerationConfig().to_dict()
    others = set(defaults) - KNOWN - set(NEW_TOKENS) - IGNORED
    assert dict(NEUTRAL) == {name: defaults[name] for name in others}
    assert defaults["max_length"] == UNSET_MAX_LENGTH


def test_a_length_that_is_the_default_of_transformers_is_20_tokens_after_the_start_as_it_is_there() -> None:
    assert DecodingSettings.from_generation_config({"max_length": 20}).max_length == 21
    assert DecodingSettings.from_generation_config({"max_length": 21}).max_length == 21


def test_the_defaults_of_transformers_change_nothing() -> None:
    assert DecodingSettings().override(GenerationConfig().to_dict()) == replace(DecodingSettings(), max_length=20)


@pytest.mark.parametrize("name", sorted(set(GenerationConfig().to_dict()) - KNOWN - set(NEW_TOKENS) - IGNORED))
def test_every_other_setting_of_transformers_is_taken_at_its_default_and_refused_at_any_other_value(name: str) -> None:
    neutral = GenerationConfig().to_dict()[name]
    assert DecodingSettings().override({name: neutral}) == DecodingSettings()
    with pytest.raises(UnsupportedSetting, match=rf"\b{name}="):
        DecodingSettings().override({name: not neutral if isinstance(neutral, bool) else 7})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_return_sequences", 2),
        ("bad_words_ids", [[5]]),
        ("force_words_ids", [[5]]),
        ("num_beam_groups", 2),
        ("stop_strings", "bye"),
        ("use_cache", False),
        ("return_dict_in_generate", True),
        ("num_beam", 4),
        ("_num_beams", 4),
        ("maxlength", None),
        ("logits_processor", []),
        ("streamer", object()),
        ("inputs", SOURCE),
        ("eos_token_id", [2, 3]),
    ],
)
def test_what_is_not_done_is_refused_by_name(pair: Pair, name: str, value: Any) -> None:
    with pytest.raises(UnsupportedSetting, match=rf"\b{name}\b"):
        pair.engine.generate(SOURCE, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 0),
        ("num_beams", 10**12),
        ("num_beams", 2.5),
        ("num_beams", "four"),
        ("min_length", -1),
        ("max_length", 1),
        ("no_repeat_ngram_size", -1),
        ("encoder_no_repeat_ngram_size", -3),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("nan")),
        ("length_penalty", float("inf")),
        ("length_penalty", -11.0),
        ("temperature", 0.0),
        ("temperature", float("inf")),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("early_stopping", "maybe"),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedSetting, match=f"{name}={value!r} is out of range"):
        DecodingSettings().override({name: value})


def test_sampling_with_beams_is_refused(pair: Pair) -> None:
    with pytest.raises(UnsupportedSetting, match="do_sample with num_beams above 1"):
        pair.engine.generate(SOURCE, do_sample=True, num_beams=2)


def test_a_reply_longer_than_the_positions_of_the_model_is_refused(pair: Pair) -> None:
    with pytest.raises(UnsupportedSetting, match=f"max_length is {pair.engine.window + 1}"):
        pair.engine.generate(SOURCE, max_length=pair.engine.window + 1)
    assert pair.engine.generate(SOURCE, max_length=pair.engine.window, min_length=0).shape[1] > 1


@pytest.mark.parametrize("length", [0, 1])
def test_a_source_longer_than_the_window_is_refused(pair: Pair, length: int) -> None:
    window = pair.engine.window
    ids = torch.full((1, window + 1), 7)
    with pytest.raises(UnsupportedSetting, match=f"source has {window + 1} tokens, .* from 1 to {window}"):
        pair.engine.generate(ids, max_length=5)
    assert pair.engine.generate(ids[:, 1:], max_length=5, min_length=0).shape[0] == 1


def test_a_source_of_padding_alone_is_refused(pair: Pair) -> None:
    ids = torch.tensor([[5, 6, 2], [0, 0, 0]])
    with pytest.raises(UnsupportedSetting, match="source has 0 tokens"):
        pair.engine.generate(ids, max_length=5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_new_tokens": 7},
        {"max_new_tokens": 9, "max_length": 30, "min_length": 0},
        {"min_new_tokens": 4, "max_length": 20},
        {"min_new_tokens": 0, "max_length": 20},
        {"min_new_tokens": 3, "max_new_tokens": 3},
        {"no_repeat_ngram_size": None, "encoder_no_repeat_ngram_size": None, "min_length": None},
        {"forced_eos_token_id": None, "max_length": 8, "min_length": 8},
        {"repetition_penalty": None},
    ],
)
@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")
def test_lengths_in_new_tokens_and_none_mean_what_they_mean_in_transformers(
    pair: Pair, arguments: dict[str, Any]
) -> None:
    assert pair.engine.settings.min_length == 20
    for beams in (1, 3):
        expected = reply(pair.reference, num_beams=beams, **arguments)
        assert reply(pair.engine, num_beams=beams, **arguments) == expected


@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(num_beams=3),
        GenerationConfig(num_beams=2, max_length=15, min_length=4, length_penalty=2.0),
        GenerationConfig(max_new_tokens=6, no_repeat_ngram_size=2),
    ],
)
@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")
def test_a_generation_config_goes_before_the_models_own_as_in_transformers(
    pair: Pair, config: GenerationConfig
) -> None:
    for arguments in (dict[str, int](), {"min_length": 0}):
        expected = reply(pair.reference, generation_config=config, **arguments)
        assert reply(pair.engine, generation_config=config, **arguments) == expected


def test_a_model_without_a_max_length_takes_that_of_transformers(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = GenerationConfig(decoder_start_token_id=1, eos_token_id=END, pad_token_id=0, num_beams=2, min_length=50)
    engine = ORTBlenderbotForConditionalGeneration.from_pretrained(pair.export, threads=1, generation_config=bare)
    monkeypatch.setattr(pair.reference, "generation_config", bare)
    with pytest.warns(UserWarning, match="Unfeasible length constraints"):
        expected = reply(pair.reference)
    assert reply(engine) == expected
    assert len(expected) == 21
