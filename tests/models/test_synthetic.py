from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

from models import synthetic
from models.synthetic import BLENDERBOT_400M, CheckpointError, Shape, is_synthetic, model_config, write_checkpoint

FULL_VOCABULARY = Shape(d_model=8, encoder_layers=1, decoder_layers=2, heads=2, ffn=8)
SMALL = Shape(vocab_size=300, d_model=8, encoder_layers=1, decoder_layers=2, heads=2, ffn=8, positions=16)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_default_shape_has_the_parameters_of_the_400m_model() -> None:
    config = model_config(BLENDERBOT_400M)
    with torch.device("meta"):
        model = BlenderbotForConditionalGeneration(config)
    assert model.num_parameters() == 364_802_560
    assert (config.encoder_layers, config.decoder_layers, config.d_model, config.vocab_size) == (2, 12, 1280, 8008)
    assert config.scale_embedding
    assert config.activation_function == "gelu"


def test_tokenizer_is_that_of_the_real_checkpoint_in_all_but_its_words(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", shape=FULL_VOCABULARY)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert type(tokenizer).__name__ == "BlenderbotTokenizerFast"
    assert tokenizer.vocab_size == 8008
    assert len(json.loads((tmp_path / "model" / "vocab.json").read_text())) == 8008
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 8008]
    assert tokenizer.model_max_length == 128
    text = " It's 5 o'clock!\né 漢 🙂"
    assert tokenizer.decode(tokenizer(text).input_ids[:-1]) == text
    assert tokenizer(text).input_ids[-1] == 2
    assert tokenizer("Sam").input_ids == tokenizer(" Sam").input_ids
    assert tokenizer("a", "b").input_ids == tokenizer("a").input_ids[:-1] + tokenizer("b").input_ids[:-1]


def test_generation_config_is_that_of_the_real_checkpoint(tiny_checkpoint: Path) -> None:
    settings = json.loads((tiny_checkpoint / "generation_config.json").read_text())
    assert (
        settings.items()
        >= {
            "num_beams": 10,
            "min_length": 20,
            "max_length": 60,
            "length_penalty": 0.65,
            "no_repeat_ngram_size": 3,
            "encoder_no_repeat_ngram_size": 3,
            "forced_eos_token_id": 2,
            "decoder_start_token_id": 1,
        }.items()
    )


def test_weights_are_half_precision_and_fill_the_model(tiny_checkpoint: Path) -> None:
    with safe_open(tiny_checkpoint / "model.safetensors", framework="pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118
    _, info = BlenderbotForConditionalGeneration.from_pretrained(tiny_checkpoint, output_loading_info=True)
    assert not any(info.values())


def test_greedy_replies_vary_and_depend_on_the_source(tiny_checkpoint: Path) -> None:
    model = BlenderbotForConditionalGeneration.from_pretrained(tiny_checkpoint)
    sources = torch.tensor([[10, 20, 30, 40, 2], [50, 60, 70, 80, 2]])
    mask = torch.ones_like(sources)
    first, second = model.generate(
        sources, attention_mask=mask, num_beams=1, length_penalty=1.0, min_length=20, max_length=20
    ).tolist()
    assert first != second
    assert len(set(first)) > 8
    assert not set(first[1:] + second[1:]) & {1, 3}


def test_folder_says_that_its_weights_are_random(tiny_checkpoint: Path, tmp_path: Path) -> None:
    readme = (tiny_checkpoint / "README.md").read_text()
    assert "Random weights (seed 0): speed and numeric fidelity only" in readme
    assert is_synthetic(tiny_checkpoint)
    assert not is_synthetic(tmp_path)


def test_same_seed_gives_the_same_files_and_another_seed_other_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_checkpoint(tmp_path / name, shape=SMALL, seed=seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a")["model.safetensors"] != content(tmp_path / "c")["model.safetensors"]


def test_a_large_checkpoint_is_written_in_several_files_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "one", shape=SMALL)
    monkeypatch.setattr(synthetic, "SHARD_BYTES", 2000)
    write_checkpoint(tmp_path / "several", shape=SMALL)
    assert len(list((tmp_path / "several").glob("model-*.safetensors"))) > 2
    one, several = (
        BlenderbotForConditionalGeneration.from_pretrained(tmp_path / name).state_dict() for name in ("one", "several")
    )
    assert one.keys() == several.keys()
    assert all(torch.equal(one[name], several[name]) for name in one)


def test_existing_folder_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_checkpoint(target, shape=SMALL)
    before = content(target)
    with pytest.raises(CheckpointError, match="exists already; pass --force"):
        write_checkpoint(target, shape=SMALL, seed=1)
    assert content(target) == before
    write_checkpoint(target, shape=SMALL, seed=1, force=True)
    assert content(target)["model.safetensors"] != before["model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_force_does_not_replace_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        write_checkpoint(tmp_path, shape=SMALL, force=True)
    with pytest.raises(CheckpointError, match="is a file"):
        write_checkpoint(tmp_path / "thesis.txt", shape=SMALL, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_on_the_way_leaves_nothing_new(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    write_checkpoint(target, shape=SMALL)
    before = content(target)

    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(synthetic, "_write_weights", fail)
    with pytest.raises((CheckpointError, KeyboardInterrupt)):
        write_checkpoint(target, shape=SMALL, force=True)
    assert content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    lines: list[str] = []
    write_checkpoint(tmp_path / "model", shape=SMALL, progress=lines.append)
    assert lines[0] == "configuration and tokenizer"
    assert lines[-2].endswith("(100 %)")


def test_the_command_writes_a_checkpoint_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = Shape(280, d_model=32, encoder_layers=1, decoder_layers=1, heads=2, ffn=32)
    monkeypatch.setitem(synthetic.SHAPES, "3b", shape)
    folder = tmp_path / "three"
    assert synthetic.main(["--output-dir", str(folder), "--shape", "3b"]) == 0
    assert is_synthetic(folder)
    assert synthetic.main(["--output-dir", str(folder)]) == 1
    assert capsys.readouterr().err == f"error: {folder} exists already; pass --force to replace it.\n"
    with pytest.raises(SystemExit) as caught:
        synthetic.main([])
    assert caught.value.code == 2
