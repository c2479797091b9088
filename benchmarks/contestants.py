"""Who can take part, and what it takes to get them ready."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import process
from benchmarks.cache import Cache, fingerprint
from benchmarks.checkpoints import Checkpoint, cached_export, write_cost
from benchmarks.environment import versions
from benchmarks.errors import RivalError
from benchmarks.figures import labels
from benchmarks.machine import WEIGHT_BITS
from benchmarks.output import progress
from benchmarks.rivals import optimum
from benchmarks.session import Session
from benchmarks.venvs import python_with

RIVALS = Path(__file__).resolve().parent / "rivals"
REFERENCE = "torch-fp32"
STOCK = "stock-dynamic-int8"
BART = "BART of the same shape with random weights (it has no Blenderbot loader)"


@dataclass(frozen=True)
class Contestant:
    """One way to run a checkpoint.

    Attributes:
        name: on the command line; the same for two that are run against each other to see the noise (the A/A pair).
        title: what it is in tables.
        loader: of `benchmarks.worker.LOADERS`.
        export: whether it loads an export of ours.
        recipe: module of `benchmarks.rivals` that converts the checkpoint for it, in an environment of its own if it
            has a requirements file; "" for none.
        bytes_per_weight: peak memory of the conversion.
        other_model: what it runs in place of the checkpoint; "" for the checkpoint.
        lacks: settings of the checkpoint that it cannot apply.
        rival: a run goes on without it when it cannot be loaded, fails, or does something else than was asked.
        label: its name in one run, different for each; with `command` and `folder` set when it is ready.
        command: starts its worker.
        folder: that it loads.
    """

    name: str
    title: str
    loader: str = ""
    export: bool = False
    recipe: str = ""
    bytes_per_weight: float = 0.0
    other_model: str = ""
    lacks: tuple[str, ...] = ()
    rival: bool = True
    label: str = ""
    command: tuple[str, ...] = ()
    folder: Path = Path()

    @property
    def precision(self) -> str:
        """Of the weights that it reads, of `benchmarks.machine.WEIGHT_BITS`; "" for another."""
        ending = "fp32" if self.name == "torch-compile" else self.name.rpartition("-")[2]
        return ending if ending in WEIGHT_BITS else ""

    @property
    def requirements(self) -> Path | None:
        """What its own environment holds; None where it runs in the project's."""
        path = RIVALS / f"{self.recipe}.txt"
        return path if path.is_file() else None

    @property
    def exact(self) -> bool:
        """Whether it computes in fp32, so that its replies must be the reference's, ties aside."""
        return self.precision == "fp32" and not self.other_model

    def cached(self, checkpoint: Checkpoint) -> str:
        """Where the cache keeps what it loads."""
        return f"models/{checkpoint.name}-{self.precision if self.export else self.name}"


def _of_export(way: str, title: str, loader: str) -> list[Contestant]:
    return [
        Contestant(f"{way}-{precision}", title.format(precision), loader, export=True)
        for precision in ("int8", "int4", "fp32")
    ]


# In the order of the tables.
LINE_UP = (
    Contestant(REFERENCE, "torch fp32 (the tutorial's way)", "torch"),
    Contestant("torch-bf16", "torch bf16", "torch-bf16"),
    Contestant("torch-dynamic-int8", "torch, dynamic int8", "torch-dynamic-int8"),
    Contestant("torch-compile", "torch.compile, fp32", "torch-compile"),
    *_of_export("ours", "**this project**, {}", "ours"),
    *_of_export("onnxruntime", "this project on ONNX Runtime's kernels, {}", "ours-stock-kernels"),
    *_of_export("stock", "this export, {}, in the stock `ORTModelForSeq2SeqLM`", "stock"),
    Contestant("optimum-fp32", "stock Optimum, fp32", "stock", recipe="optimum", bytes_per_weight=16),
    Contestant(STOCK, "stock Optimum, dynamic int8", "stock", recipe="optimum", bytes_per_weight=27),
    *(
        Contestant(f"openvino-{bits}", f"OpenVINO, {bits} weights", "openvino", recipe="openvino", bytes_per_weight=9)
        for bits in ("int8", "int4")
    ),
    Contestant(
        "ctranslate2-int8",
        "CTranslate2, int8 (*)",
        "ctranslate2",
        recipe="ctranslate2",
        bytes_per_weight=8,
        other_model=BART,
        lacks=("encoder_no_repeat_ngram_size", "forced_eos_token_id"),
    ),
)
CONTESTANTS: Mapping[str, Contestant] = {contestant.name: contestant for contestant in LINE_UP}


def title(name: str) -> str:
    """What a contestant is called in tables."""
    return CONTESTANTS[name].title if name in CONTESTANTS else name


def worker_command(loader: str, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command that starts a worker for one of `benchmarks.worker.LOADERS` with an interpreter."""
    return (str(python), "-m", "benchmarks.worker", loader)


def prepare(
    names: Sequence[str], checkpoint: Checkpoint, session: Session, exports: Mapping[str, Path] | None = None
) -> list[Contestant]:
    """Make what the contestants load, unless it is there already; a rival that cannot be made ready is left out.

    Args:
        names: of `CONTESTANTS`; one that comes twice runs twice.
        checkpoint: what they all run.
        session: of the measurement.
        exports: folders to use as exports of the checkpoint, by precision; others are made in the cache.
    """
    ready: list[Contestant] = []
    # Nothing can be said without the reference and our own engine: a run stops when one of them fails.
    required = {REFERENCE, *[name for name in names if CONTESTANTS[name].loader == "ours"][:1]}
    for name in dict.fromkeys(names):
        contestant = CONTESTANTS[name]
        python, folder = Path(sys.executable), checkpoint.folder
        try:
            if contestant.export:
                precision = contestant.precision
                folder = (exports or {}).get(precision) or cached_export(checkpoint, precision, session.cache)
            elif contestant.recipe:
                if contestant.requirements:
                    python = python_with(contestant.requirements, session.cache)
                folder = _converted(contestant, python, checkpoint, session.cache)
        except RivalError as error:
            session.leave_out(name, error)
            continue
        command = worker_command(contestant.loader, python)
        contestant = replace(contestant, rival=name not in required, command=command, folder=folder)
        ready += [replace(contestant, label=label) for label in labels(name, names)]
    return ready


def _converted(contestant: Contestant, python: Path, checkpoint: Checkpoint, cache: Cache) -> Path:
    def make(folder: Path) -> None:
        _check_memory(contestant, checkpoint)
        progress(f"converting {checkpoint.name} for {contestant.name} (once)")
        ending = process.run([python, "-m", "benchmarks.rivals", contestant.name, checkpoint.folder, folder])
        if ending.code != 0:
            raise RivalError(f"The checkpoint cannot be converted: the conversion {ending}")
        write_cost(folder, ending)

    made_from = {
        "checkpoint": checkpoint.fingerprint,
        "recipe": fingerprint(filter(None, [RIVALS / f"{contestant.recipe}.py", contestant.requirements])),
        "flavour": optimum.flavour(),
        "versions": None if contestant.requirements else versions(),
    }
    return cache.get(contestant.cached(checkpoint), made_from, make)


def _check_memory(contestant: Contestant, checkpoint: Checkpoint) -> None:
    from transformers import BlenderbotConfig

    from export.tensors import shapes_of
    from service.engine.machine import available_memory

    weights = sum(map(math.prod, shapes_of(BlenderbotConfig.from_pretrained(checkpoint.folder)).values()))
    needed, free = weights * contestant.bytes_per_weight, available_memory()
    if needed > free:
        raise RivalError(f"The conversion needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are available")
