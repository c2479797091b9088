from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.cache import Cache, fingerprint
from benchmarks.checkpoints import decoding, fixed_length
from models import manifest


def test_settings_are_those_that_matter_and_differ_from_the_defaults(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = decoding(tiny_checkpoint)
    assert settings["forced_eos_token_id"] == 2
    assert settings["no_repeat_ngram_size"] == 3
    assert not {"transformers_version", "bos_token_id", "do_sample"} & settings.keys()
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copyfile(tiny_checkpoint / "config.json", folder / "config.json")
    assert decoding(folder)["eos_token_id"] == 2


def test_copy_has_its_own_settings_and_leaves_the_export_alone(tiny_export: Path, tmp_path: Path) -> None:
    before = fingerprint([tiny_export])
    folder = fixed_length(tiny_export, 4, 9, Cache(tmp_path / "cache"))
    assert folder.name == "tiny-int8-beams4-tokens9"
    manifest.check(folder)
    manifest.check(tiny_export)
    assert fingerprint([tiny_export]) == before
    settings = json.loads((folder / "generation_config.json").read_text())
    assert (settings["num_beams"], settings["min_length"], settings["max_length"]) == (4, 10, 10)
    assert settings["no_repeat_ngram_size"] == 3
    assert (tiny_export / "weights.bin").stat().st_nlink == 1


def test_lengths_under_other_names_do_not_win(tiny_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "named"
    shutil.copytree(tiny_export, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_new_tokens": 3}))
    made = fixed_length(folder, 1, 9, Cache(tmp_path / "cache"))
    assert "max_new_tokens" not in json.loads((made / "generation_config.json").read_text())
