"""File systems that cannot share a file between processes, as network folders are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.process import ROOT

# Fails for the file that SQLite maps to share it.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int shared(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 4) return 0;
    path[size] = 0;
    return !strcmp(path + size - 4, "-shm");
}

#define REFUSE(name)                                                                      \
    void *name(void *at, size_t size, int rights, int flags, int fd, off_t offset) {     \
        void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, #name);    \
        if (fd >= 0 && shared(fd)) { errno = ENODEV; return MAP_FAILED; }                 \
        return real(at, size, rights, flags, fd, offset);                                 \
    }
REFUSE(mmap)
REFUSE(mmap64)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes every folder one in which SQLite's files cannot be mapped together."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler here")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    built: list[str | Path] = [compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"]
    subprocess.run(built, check=True)
    return folder / "shim.so"


def check(model: Path, store: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "--check", "--port", "0", "--model", str(model), "--store", str(store)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["x.sqlite3", "new/folders/x.sqlite3"])
def test_a_network_folder_is_told_and_nothing_is_left_there(
    shim: Path, tiny_export: Path, tmp_path: Path, name: str
) -> None:
    ended = check(tiny_export, tmp_path / name, LD_PRELOAD=str(shim))
    assert ended.returncode == 1
    assert (
        f"error: The conversations cannot be kept in {tmp_path / name} (this file system cannot share it between "
        "processes; is it a network folder?); choose a local file or Redis with --store.\n"
    ) in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_moved_there_is_left_as_it_is(shim: Path, tiny_export: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.sqlite3"
    assert check(tiny_export, store).returncode == 0
    before = store.read_bytes()
    assert "choose a local file or Redis" in check(tiny_export, store, LD_PRELOAD=str(shim)).stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x.sqlite3": before}
