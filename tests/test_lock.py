"""What gets installed is what the lock files name, with its hashes."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.markers import Marker

from tests.service.process import ROOT

FOLDER = ROOT / "requirements"
SETS = (
    "setup",
    "compiler",
    "service",
    "redis",
    "ray",
    "training",
)
LOCKED = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? *\\?$", re.MULTILINE
)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def locked(name: str) -> dict[str, str]:
    """The packages of a lock file that are for this machine."""
    found = LOCKED.finditer((FOLDER / f"{name}.lock").read_text(encoding="utf-8"))
    return {each["name"]: each["version"] for each in found if not each["marker"] or Marker(each["marker"]).evaluate()}


def wanted(name: str) -> dict[str, str]:
    """The packages that a file for people names, without those of the files that it names."""
    source = ROOT / "requirements.txt" if name == "service" else FOLDER / f"{name}.txt"
    lines = source.read_text(encoding="utf-8").splitlines()
    return dict(re.sub(r"\[.*\]", "", line).split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("name", [*SETS, "dev"])
def test_each_package_has_hashes_and_the_version_that_people_read(name: str) -> None:
    lines = (FOLDER / f"{name}.lock").read_text(encoding="utf-8").splitlines()
    assert all(LOCKED.fullmatch(line) or HASH.fullmatch(line) for line in lines)
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert HASH.fullmatch(line) or HASH.fullmatch(following), line
    found = locked(name)
    for package, pinned in wanted(name).items():
        if package != "torch":
            assert found[package] == pinned


def test_what_is_tested_is_what_is_locked() -> None:
    for package, pinned in locked("service").items():
        try:
            assert version(package) == pinned
        except PackageNotFoundError:
            pytest.fail(f"{package} is locked and not installed")


def test_torch_stands_apart() -> None:
    for name in SETS:
        assert not {package for package in locked(name) if re.match(r"(torch|triton)$|nvidia-|cuda-", package)}


def test_nothing_else_is_installed_without_hashes() -> None:
    for file in ("Makefile", "Dockerfile"):
        text = re.sub(r"\\\n\s*", " ", (ROOT / file).read_text(encoding="utf-8"))
        for line in text.splitlines():
            for command in re.findall(r"pip install[^&|]*", line):
                assert "--require-hashes" in command or "torch" in command, command
