"""What the service says of a manifest of another version."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from models import manifest
from models.folder import MANIFEST, ModelFolderError
from service.engine.chat_model import load


def test_a_folder_of_another_format_is_refused_with_the_command_that_exports_it_again(
    tiny_export: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "older"
    folder.mkdir()
    shutil.copy(tiny_export / MANIFEST, folder)
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**content, "format": 1}), encoding="utf-8")
    with pytest.raises(ModelFolderError) as caught:
        manifest.read(folder)
    assert str(caught.value) == (
        f"{folder} was written by another version of the exporter; export the model again: "
        f"python -m export --model {content['source']} --output-dir {folder} --force"
    )


DAMAGED: dict[str, object] = {
    "name": 5,
    "source": None,
    "revision": ["a"],
    "notice": {"a": "b"},
    "quantization": "precision",
    "versions": None,
    "verification": [],
    "created": 20260101,
    "files": [],
}


@pytest.mark.parametrize("field", DAMAGED)
def test_a_field_of_another_type_is_damage(tiny_export: Path, tmp_path: Path, field: str) -> None:
    content = json.loads((tiny_export / MANIFEST).read_text(encoding="utf-8")) | {field: DAMAGED[field]}
    (tmp_path / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="is damaged"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"files": ' + '{"a":' * 100_000, "9" * 5000, "\0", ""])
def test_what_is_no_json_is_damage(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError, match="is damaged"):
        manifest.read(tmp_path)
    assert not manifest.outdated(tmp_path)


def test_weights_behind_a_link_that_onnx_runtime_does_not_follow_are_refused(tiny_export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_export, tmp_path / "tiny"))
    elsewhere = tmp_path / "big" / "weights.bin"
    elsewhere.parent.mkdir()
    (folder / "weights.bin").rename(elsewhere)
    (folder / "weights.bin").symlink_to(elsewhere)
    with pytest.raises(
        ModelFolderError, match=r"weights\.bin is a link to .*big/weights\.bin, .*; copy the file there"
    ):
        manifest.check(folder)


def test_a_folder_of_links_into_one_folder_is_served_and_so_is_a_linked_folder(
    tiny_export: Path, tmp_path: Path
) -> None:
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    folder.mkdir()
    shutil.copytree(tiny_export, blobs)
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(path)
    (tmp_path / "linked").symlink_to(tiny_export)
    for served in (folder, tmp_path / "linked"):
        manifest.check(served)
        load(served)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "..", "sub/config.json", "sub\\config.json", ""])
def test_names_that_leave_the_folder_are_refused(tiny_export: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(tiny_export, tmp_path / "folder")
    (tmp_path / "outside.json").write_text("{}")
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    content["files"][name] = {"sha256": hashlib.sha256(b"{}").hexdigest(), "size": 2}
    path.write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match="which is no file of that folder"):
        manifest.check(folder)


@pytest.mark.parametrize("name", ["generation_config.json", "chat_template.jinja", "added_tokens.json", "modeling.py"])
def test_files_that_are_not_listed_are_refused_where_they_would_be_loaded(
    tiny_export: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(tiny_export, tmp_path / "folder")
    path = folder / MANIFEST
    content = json.loads(path.read_text())
    content["files"].pop(name, None)
    path.write_text(json.dumps(content))
    (folder / name).write_text("{}")
    with pytest.raises(ModelFolderError, match="is not among the exported files"):
        manifest.check(folder)


def test_notes_beside_the_files_are_no_harm(tiny_export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_export, tmp_path / "folder")
    (folder / "README.md").write_text("Ours.")
    (folder / ".DS_Store").write_text("")
    manifest.check(folder)


def test_the_way_to_a_folder_is_nobodys_business(tiny_export: Path) -> None:
    found = manifest.read(tiny_export)
    secret = replace(found, source="/home/anna/secret-project/checkpoint", revision=None)
    assert secret.origin == "checkpoint"
    assert replace(found, source="facebook/blenderbot-400M-distill", revision="0" * 40).origin.startswith("facebook/")
