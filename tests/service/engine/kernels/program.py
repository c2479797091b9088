"""Building the program that checks the kernels against plain arithmetic, and running it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.engine.kernels import sources

FOLDER = Path(__file__).parent
# Those of the library that know nothing of ONNX Runtime.
INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512_vnni", "amx", "neon_dot", "neon_i8mm")
LIBRARY_UNITS = (*INSTRUCTION_SETS, "instruction_sets", "cpu", "packing")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Without optimisation, since the checks that are woven in make optimising take minutes.
SANITIZED = ("-O0", "-g1", *SANITIZERS, "-fno-sanitize=null,alignment,vptr")
TIMEOUT_S = 600


def units() -> list[Path]:
    return [path for path in sources.units() if path.stem in LIBRARY_UNITS] + sorted(FOLDER.glob("*.cpp"))


def compile_units(command: Sequence[str], folder: Path, flags: Sequence[str] = (), names: Sequence[str] = ()) -> None:
    """Compile units, all or those named, into objects of a folder, with the flags of the library and those given."""
    chosen = [path for path in units() if not names or path.stem in names]

    def compile_unit(unit: Path) -> None:
        # What is shipped is compiled as it is shipped; the checks themselves need no more than -O1.
        optimised = [] if unit.parent == sources.FOLDER else ["-O1"]
        own = (*sources.FLAGS, *optimised, f"-I{sources.FOLDER}", "-Wall", "-Wextra", "-Werror", *flags)
        run([*command, *own, "-c", str(unit), "-o", str(folder / f"{unit.stem}.o")])

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_unit, chosen))


def link(command: Sequence[str], folder: Path, flags: Sequence[str] = ()) -> Path:
    target = folder / "check"
    run([*command, *flags, *map(str, sorted(folder.glob("*.o"))), "-o", str(target)])
    return target


def can_sanitize(command: Sequence[str], folder: Path) -> bool:
    """Whether the compiler has the sanitizers and they run here."""
    (folder / "empty.cpp").write_text("int main() {}\n", encoding="utf-8")
    probe = [*command, *SANITIZERS, str(folder / "empty.cpp"), "-o", str(folder / "empty")]
    return not any(subprocess.run(each, capture_output=True, check=False).returncode for each in (probe, probe[-1:]))


def run(command: Sequence[str]) -> str:
    """What a command prints; an AssertionError with it where the command fails."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
    return done.stdout
