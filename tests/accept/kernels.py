"""Every kernel against plain arithmetic in many random cases, under the sanitizers, and on aarch64 by an emulator."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from service.engine.kernels.build import compiler
from tests.accept.outcome import Line
from tests.service.engine.kernels import program

AARCH64_COMPILER = "aarch64-linux-gnu-g++"
AARCH64_EMULATOR = ("qemu-aarch64", "-cpu", "max")
AARCH64_PACKAGES = {AARCH64_COMPILER: "g++-aarch64-linux-gnu", AARCH64_EMULATOR[0]: "qemu-user"}
ROUNDS = "50"
ROUNDS_WHERE_SLOW = "3"


def check() -> list[Line]:
    command = compiler()
    if command is None:
        return [Line("the kernels agree with plain arithmetic bit for bit", "there is no C++ compiler", False)]
    return [
        _line(
            "the kernels of this processor agree with plain arithmetic bit for bit", lambda at: _natively(command, at)
        ),
        _line(
            "AddressSanitizer and UndefinedBehaviorSanitizer find nothing in them", lambda at: _sanitized(command, at)
        ),
        _line("those of aarch64 agree too, in an emulator", _on_aarch64),
    ]


def _line(promise: str, measure: Callable[[Path], str]) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        try:
            printed = measure(Path(folder)).strip().splitlines()[-1]
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            return Line(promise, str(error)[-1000:], False)
    return Line(promise, printed, printed.endswith(", 0 failed"))


def _natively(command: Sequence[str], folder: Path) -> str:
    program.compile_units(command, folder)
    return program.run([str(program.link(command, folder)), ROUNDS])


def _sanitized(command: Sequence[str], folder: Path) -> str:
    if not program.can_sanitize(command, folder):
        return f"{command[0]} has no AddressSanitizer"
    program.compile_units(command, folder, program.SANITIZED)
    return program.run([str(program.link(command, folder, program.SANITIZERS)), ROUNDS_WHERE_SLOW])


def _on_aarch64(folder: Path) -> str:
    _install([package for tool, package in AARCH64_PACKAGES.items() if not shutil.which(tool)])
    program.compile_units([AARCH64_COMPILER], folder)
    return program.run(
        [*AARCH64_EMULATOR, str(program.link([AARCH64_COMPILER], folder, ["-static"])), ROUNDS_WHERE_SLOW]
    )


def _install(packages: Sequence[str]) -> None:
    if not packages:
        return
    apt = [*([] if os.geteuid() == 0 else ["sudo"]), "apt-get"]
    program.run([*apt, "update", "-qq"])
    program.run([*apt, "install", "-y", "-qq", "--no-install-recommends", *packages])
