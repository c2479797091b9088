"""`manifest.json`: what an exported folder was made from, and the checksum of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.folder import CONFIG, MANIFEST, WEIGHTS, ModelFolderError

FORMAT = 2
# Libraries look for files of these kinds by themselves.
LOADED = frozenset({".json", ".jinja", ".txt", ".model", ".py", ".onnx", ".data", ".bin", ".safetensors"})


@dataclass(frozen=True)
class FileRecord:
    """Checksum (hexadecimal SHA-256) and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Content of `manifest.json`.

    Attributes:
        name: short name of the model, as `/v1/models` shows it.
        source: Hub id or folder that was exported.
        revision: commit on the Hub; None for a folder.
        notice: a warning for users of the model; empty for none.
        quantization: precision of the weights and how they are stored.
        versions: versions of the packages that made the export.
        created: UTC time, ISO 8601.
        verification: agreement with torch, as measured at export; empty when it was skipped.
        files: every other file of the folder.
    """

    name: str
    source: str
    revision: str | None
    notice: str
    quantization: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str
    verification: Mapping[str, Any]
    files: Mapping[str, FileRecord]

    @property
    def origin(self) -> str:
        """The source as everyone may know it: a Hub id, or the name of a folder without the way to it."""
        return self.source if self.revision is not None else Path(self.source).name

    def write(self, folder: Path) -> None:
        """Write it into the folder that it describes."""
        content = {"format": FORMAT, **asdict(self)}
        (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Checksum every file of `folder` but the manifest itself."""
    return {
        path.name: FileRecord(_sha256(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }


def outdated(folder: Path) -> bool:
    """Whether a folder is an export in the format of another release."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format", FORMAT) != FORMAT


def read(folder: Path) -> Manifest:
    """Read the manifest of an exported folder.

    Raises:
        ModelFolderError: the folder or its manifest is missing, unreadable or of another version of the exporter.
    """
    if not folder.is_dir():
        raise ModelFolderError(
            f"There is no model folder {folder}; make it with: python -m export --output-dir {folder}"
        )
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ModelFolderError(
                f"{folder} was written by another version of the exporter; export the model again: "
                f"python -m export --model {content['source']} --output-dir {folder} --force"
            )
        files = {name: FileRecord(**record) for name, record in content.pop("files").items()}
        manifest = Manifest(files=files, **content)
        _check_types(manifest)
        return manifest
    except FileNotFoundError as error:
        checkpoint = next(filter(_is_checkpoint, (folder, folder / "checkpoint")), None)
        remedy = (
            "name one, or make one with python -m export"
            if checkpoint is None
            else f"make one with: python -m export --model {checkpoint} and serve the folder that it names"
        )
        raise ModelFolderError(f"{folder} holds no {MANIFEST}, so it is not an exported model; {remedy}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFolderError(
            f"{path} is damaged; export the model again: "
            f"python -m export --model CHECKPOINT --output-dir {folder} --force"
        ) from error


def check(folder: Path) -> Manifest:
    """Read the manifest and compare every file with it.

    Raises:
        ModelFolderError: naming the first file that is missing, differs or is not listed, and the command that exports
            it again.
    """
    manifest = read(folder)
    remedy = (
        f"export the model again: python -m export --model {manifest.source} "
        f"--quantization {manifest.quantization['precision']} --output-dir {folder} --force"
    )
    for name, record in manifest.files.items():
        if name in {"", ".", ".."} or set(name) & {"/", "\\"}:
            raise ModelFolderError(f"{folder / MANIFEST} names {name!r}, which is no file of that folder; {remedy}")
        path = folder / name
        try:
            size = path.stat().st_size
            if size != record.size:
                raise ModelFolderError(f"{path} has {size} bytes where {record.size} were exported; {remedy}")
            if _sha256(path) != record.sha256:
                raise ModelFolderError(f"{path} is not the file that was exported (its checksum differs); {remedy}")
        except FileNotFoundError as error:
            raise ModelFolderError(f"{path} is missing; {remedy}") from error
        except OSError as error:
            raise ModelFolderError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
        if path.suffix == ".onnx":
            _check_link(folder, path)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in LOADED and path.name not in {MANIFEST, *manifest.files}:
            raise ModelFolderError(f"{path} is not among the exported files; take it out of the folder, or {remedy}")
    return manifest


def _check_types(manifest: Manifest) -> None:
    """Raise TypeError, KeyError or ValueError unless it holds what its readers take it to hold."""
    texts = [manifest.name, manifest.source, manifest.notice, manifest.quantization["precision"]]
    texts += [] if manifest.revision is None else [manifest.revision]
    objects = [manifest.quantization, manifest.versions, manifest.verification]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(value, dict) for value in objects):
        raise TypeError
    datetime.fromisoformat(manifest.created)


def _check_link(folder: Path, graph: Path) -> None:
    """Refuse a link that ONNX Runtime does not follow: it reads in the folder, or beside where a graph is."""
    weights = (folder / WEIGHTS).resolve()
    if not any(weights.is_relative_to(home) for home in (folder.resolve(), graph.resolve().parent)):
        raise ModelFolderError(
            f"{folder / WEIGHTS} is a link to {weights}, where ONNX Runtime does not read it; copy the file there."
        )


def _is_checkpoint(folder: Path) -> bool:
    weights = (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    return bool(weights) and (folder / CONFIG).exists()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
