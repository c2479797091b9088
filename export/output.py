"""The folder an export writes: made beside its place, put there in one rename."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from export.errors import ExportError
from export.interrupts import held
from models.folder import MANIFEST


def check_free(target: Path, *, force: bool) -> None:
    """Refuse a target that cannot be made, or that exists, unless it is an earlier export and `force` is set.

    Raises:
        ExportError: saying what stands there.
    """
    places = [target.absolute(), *target.absolute().parents]
    if lost := next((place for place in places if place.is_symlink() and not place.exists()), None):
        raise ExportError(f"{lost} is a link to nowhere; remove it, or name another --output-dir.")
    parent = next(folder for folder in places[1:] or places if folder.exists())
    if not parent.is_dir():
        raise ExportError(f"{parent} is a file, so no folder can be made in it; name another --output-dir.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ExportError(f"{parent} cannot be written to; name another --output-dir.")
    if target.is_mount() or str(target.resolve()) in {disk.mountpoint for disk in psutil.disk_partitions(all=True)}:
        raise ExportError(f"{target} is a mount point; name a folder in it, such as {target / 'model'}.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise ExportError(f"{target} is a file; name a folder with --output-dir.")
    if not (target / MANIFEST).exists():
        raise ExportError(f"{target} exists and is not an earlier export; name another folder with --output-dir.")
    if not force:
        raise ExportError(f"{target} already holds an exported model; take --force or name another --output-dir.")


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, removed when the block ends, however it ends."""
    target = target.absolute()
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        maker = stale.name.rpartition("-")[2]
        # In a container, an earlier export may well have had our process id.
        if not maker.isdecimal() or int(maker) == os.getpid() or not psutil.pid_exists(int(maker)):
            shutil.rmtree(stale, ignore_errors=True)
    folder = target.parent / f".{target.name}.partial-{os.getpid()}"
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        with held():
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                for parent in made:
                    parent.rmdir()


def put_in_place(finished: Path, target: Path) -> None:
    """Rename the finished folder to `target`; an earlier export there is moved aside first and removed after.

    Raises:
        ExportError: it cannot be done; the earlier export is where it was.
    """
    target = target.absolute()
    aside = finished.parent / "replaced"
    try:
        with held():
            if target.exists():
                try:
                    target.rename(aside)
                except OSError as error:
                    if error.errno != errno.EXDEV:  # as in the lower layers of an overlay
                        raise
                    shutil.copytree(target, aside)
                    shutil.rmtree(target)
            finished.rename(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be put in place ({error.strerror}).") from error
    finally:
        if aside.exists() and not target.exists():
            aside.rename(target)
