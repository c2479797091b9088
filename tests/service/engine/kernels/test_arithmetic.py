"""The kernels by themselves, driven by a program in C++ that knows nothing of ONNX Runtime."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from service.engine.kernels.build import compiler
from tests.service.engine.kernels import program

# The smallest set of each kind of processor; the acceptance check has all of them under the sanitizers.
SANITIZED = {"x86_64": "avx2", "aarch64": "neon_dot", "arm64": "neon_dot"}
CHECKS = ("check", "products", "rows", "attention", "packing")


@pytest.fixture(scope="module")
def command() -> list[str]:
    found = compiler()
    if found is None:
        pytest.skip("there is no C++ compiler")
    return found


@pytest.fixture(scope="module")
def objects(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    program.compile_units(command, folder)
    return folder


def test_every_kernel_of_this_processor_agrees_with_plain_arithmetic_bit_for_bit(
    command: list[str], objects: Path
) -> None:
    printed = program.run([str(program.link(command, objects)), "1"])

    assert ", 0 failed" in printed


def test_the_sanitizers_find_nothing(command: list[str], objects: Path, tmp_path: Path) -> None:
    kernels = SANITIZED.get(platform.machine())
    if kernels is None:
        pytest.skip(f"there are no kernels for {platform.machine()}")
    if not program.can_sanitize(command, tmp_path):
        pytest.skip(f"{command[0]} has no AddressSanitizer")
    for path in objects.glob("*.o"):
        shutil.copy(path, tmp_path)
    program.compile_units(command, tmp_path, program.SANITIZED, (*CHECKS, kernels))

    printed = program.run([str(program.link(command, tmp_path, program.SANITIZERS)), "0", kernels])

    assert ", 0 failed" in printed
