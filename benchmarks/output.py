"""Where figures go: a JSON file, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.environment import cpu_name
from benchmarks.errors import OutputError

WIDTH = 110
# By the family and model that they tell.
MICROARCHITECTURES = {
    ("25", "17"): "Zen 4",
    ("26", "2"): "Zen 5",
    ("6", "143"): "Sapphire Rapids",
    ("6", "207"): "Emerald Rapids",
}
RANDOM_WEIGHTS = "random weights: numeric fidelity only, nothing about quality"


def check_output(path: Path) -> None:
    """Find out before a long run whether its figures can be written.

    Raises:
        OutputError: `path` is a folder, or its folder is missing or read-only.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; --output takes a file.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} cannot be written to.")


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write `report` to `path`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            written = Path(scratch) / path.name
            written.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            written.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}).") from error


def wrapped(lines: Iterable[str]) -> list[str]:
    """Lines of at most `WIDTH` columns; what is longer goes on, indented, in the next."""
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return [part for line in lines for part in wrapper.wrap(line) or [""]]


def processor(machine: dict[str, Any]) -> str:
    """What kind of processor it has; names alone may stand for several."""
    told = [f"{name} {machine[f'cpu_{name}']}" for name in ("family", "model") if machine[f"cpu_{name}"]]
    kind = ", ".join([*_microarchitecture(machine), *told])
    return f"{cpu_name(machine)} ({kind})" if kind else cpu_name(machine)


def short_processor(machine: dict[str, Any]) -> str:
    """The same for the head of a column."""
    kind = _microarchitecture(machine) or [f"{machine['cpu_family']}-{machine['cpu_model']}".strip("-")]
    return ", ".join(filter(None, [cpu_name(machine), *kind]))


def _microarchitecture(machine: dict[str, Any]) -> list[str]:
    known = MICROARCHITECTURES.get((machine["cpu_family"], machine["cpu_model"]))
    return [known] if known else []


def machine_line(machine: dict[str, Any]) -> str:
    """What `benchmarks.environment.machine` found, in one line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['os']}, "
        f"{' '.join(machine['cpu_flags'])}"
    )


def kind_line(machine: dict[str, Any]) -> str:
    """`machine_line` with the kind of the processor."""
    return machine_line({**machine, "cpu": processor(machine)})
