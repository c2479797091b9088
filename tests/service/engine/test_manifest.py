"""What the service says of a manifest of another version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from service.engine import manifest
from service.errors import ModelFolderError


def test_a_folder_of_another_format_is_refused_with_the_command_that_exports_it_again(
    tiny_export: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "older"
    folder.mkdir()
    shutil.copy(tiny_export / manifest.FILE_NAME, folder)
    content = json.loads((folder / manifest.FILE_NAME).read_text(encoding="utf-8"))
    (folder / manifest.FILE_NAME).write_text(json.dumps({**content, "format": 1}), encoding="utf-8")
    with pytest.raises(ModelFolderError) as caught:
        manifest.read(folder)
    assert str(caught.value) == (
        f"{folder} was written by another version of the exporter; export the model again: "
        f"python -m export --model {content['source']} --output-dir {folder} --force"
    )
