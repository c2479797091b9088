"""The folder an export writes: made beside its place, put there in one rename."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import OutputError
from models.folder import MANIFEST


def check_free(target: Path, *, force: bool) -> None:
    """Refuse a target that cannot be made, or that exists, unless it is an earlier export and `force` is set.

    Raises:
        OutputError: saying what stands there.
    """
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise OutputError(f"{parent} is a file, so no folder can be made in it; name another --output-dir.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} cannot be written to; name another --output-dir.")
    if target.is_symlink() and not target.exists():
        raise OutputError(f"{target} is a link to nowhere; remove it, or name another --output-dir.")
    if _is_mount_point(target):
        raise OutputError(f"{target} is a mount point; name a folder in it, such as {target / 'model'}.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise OutputError(f"{target} is a file; name a folder with --output-dir.")
    if not (target / MANIFEST).exists():
        raise OutputError(f"{target} exists and is not an earlier export; name another folder with --output-dir.")
    if not force:
        raise OutputError(
            f"{target} already holds an exported model; replace it with --force or name another --output-dir."
        )


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, removed when the block ends, however it ends.

    Raises:
        OutputError: the folder cannot be made.
    """
    target = target.absolute()
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        if not _alive(stale.name.rsplit("-", 1)[-1]):
            shutil.rmtree(stale, ignore_errors=True)
    folder = target.parent / f".{target.name}.partial-{os.getpid()}"
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"{target.parent} cannot be written to ({error.strerror}); name another --output-dir."
        ) from error
    try:
        yield folder
    finally:
        with _uninterrupted():
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                for parent in made:
                    parent.rmdir()


def put_in_place(finished: Path, target: Path) -> None:
    """Rename the finished folder to `target`; an earlier export there is moved aside first and removed after."""
    target = target.absolute()
    aside = finished.parent / "replaced"
    try:
        if target.exists():
            _move_aside(target, aside)
        finished.rename(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be put in place ({error.strerror}).") from error
    finally:
        if aside.exists() and not target.exists():
            aside.rename(target)


def _move_aside(target: Path, aside: Path) -> None:
    """Rename a folder, or copy and remove it where it cannot be renamed, as in the lower layers of an overlay."""
    try:
        target.rename(aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = aside.with_suffix(".copy")
        shutil.copytree(target, copy)
        with _uninterrupted():
            copy.rename(aside)
            shutil.rmtree(target)


def _is_mount_point(folder: Path) -> bool:
    """Whether something is mounted on a folder; one that is bound to another of the same disk looks like any other."""
    import psutil

    mounted = {partition.mountpoint for partition in psutil.disk_partitions(all=True)}
    return folder.is_mount() or str(folder.resolve()) in mounted


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals that arrive while the block runs are dropped: a second Ctrl-C must not leave half a folder behind."""
    handlers = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _alive(pid: str) -> bool:
    """Whether another process has this id; in a container, an earlier export may well have had ours."""
    try:
        if int(pid) == os.getpid():
            return False
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
