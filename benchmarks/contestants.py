"""Who can take part, and what it takes to get them ready."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.cache import Cache, fingerprint
from benchmarks.checkpoints import Checkpoint, cached_export, write_cost
from benchmarks.environment import versions
from benchmarks.errors import RivalError
from benchmarks.figures import AGAIN
from benchmarks.machine import WEIGHT_BITS
from benchmarks.rivals import optimum
from benchmarks.schema import Missing
from benchmarks.venvs import python_with

RIVALS = Path(__file__).resolve().parent / "rivals"
REFERENCE = "torch-fp32"
BART = "BART of the same shape with random weights (it has no Blenderbot loader)"
TORCH = ("torch", "transformers")
ORT = ("onnxruntime", "optimum-onnx", "transformers")
OPENVINO = ("openvino", "optimum-intel", "transformers")
FUSED = "fused step and beam search"
STOCK = "stock ORTModelForSeq2SeqLM"


@dataclass(frozen=True)
class Contestant:
    """One way to run a checkpoint.

    Attributes:
        name: on the command line; the same for two that are run against each other to see the noise (the A/A pair).
        title: what it is in tables.
        details: what it is, for the legend; {flavour} stands for the kind of quantisation that suits the processor.
        loader: of `benchmarks.worker.LOADERS`.
        packages: those whose versions matter to it.
        export: whether it loads an export of ours.
        recipe: module of `benchmarks.rivals` that converts the checkpoint for it; "" for none.
        own_environment: that module has a requirements file, for an environment of its own.
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
    details: str = ""
    loader: str = ""
    packages: tuple[str, ...] = ()
    export: bool = False
    recipe: str = ""
    own_environment: bool = False
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
    def exact(self) -> bool:
        """Whether it computes in fp32, so that its replies must be the reference's, ties aside."""
        return self.precision == "fp32" and not self.other_model

    def cached(self, checkpoint: Checkpoint) -> str:
        """Where the cache keeps what it loads."""
        return f"models/{checkpoint.name}-{self.precision if self.export else self.name}"


def _of_export(way: str, title: str, details: str, loader: str, packages: tuple[str, ...]) -> list[Contestant]:
    return [
        Contestant(
            f"{way}-{precision}", title.format(precision), details.format(precision), loader, packages, export=True
        )
        for precision in ("int8", "int4", "fp32")
    ]


# In the order of the tables.
LINE_UP = (
    Contestant(REFERENCE, "torch fp32 (the tutorial's way)", "torch fp32 eager, the tutorial's path", "torch", TORCH),
    Contestant("torch-bf16", "torch bf16", "torch bf16 eager, weights and activations", "torch-bf16", TORCH),
    Contestant(
        "torch-dynamic-int8",
        "torch, dynamic int8",
        "torch fp32 with its own dynamic int8 linear layers",
        "torch-dynamic-int8",
        TORCH,
    ),
    Contestant(
        "torch-compile", "torch.compile, fp32", "torch fp32, torch.compile(dynamic=True)", "torch-compile", TORCH
    ),
    *_of_export("ours", "**this project**, {}", f"ONNX {{}}, our export, {FUSED}", "ours", ORT[:1]),
    *_of_export(
        "onnxruntime",
        "this project on ONNX Runtime's kernels, {}",
        f"ONNX {{}}, our export, {FUSED} on the kernels of ONNX Runtime",
        "ours-stock-kernels",
        ORT[:1],
    ),
    *_of_export(
        "stock", "this export, {}, in the stock `ORTModelForSeq2SeqLM`", f"ONNX {{}}, our export, {STOCK}", "stock", ORT
    ),
    Contestant(
        "optimum-fp32",
        "stock Optimum, fp32",
        f"ONNX fp32, Optimum's own export, {STOCK}",
        "stock",
        ORT,
        recipe="optimum",
        bytes_per_weight=16,
    ),
    Contestant(
        "stock-dynamic-int8",
        "stock Optimum, dynamic int8",
        f"ONNX int8, ORTQuantizer {{flavour}} dynamic, {STOCK}",
        "stock",
        ORT,
        recipe="optimum",
        bytes_per_weight=27,
    ),
    *(
        Contestant(
            f"openvino-{precision}",
            f"OpenVINO, {precision} weights",
            f"OpenVINO {precision} weights, stateful, OVModelForSeq2SeqLM",
            "openvino",
            OPENVINO,
            recipe="openvino",
            own_environment=True,
            bytes_per_weight=9,
        )
        for precision in ("int8", "int4")
    ),
    Contestant(
        "ctranslate2-int8",
        "CTranslate2, int8 (*)",
        f"CTranslate2 int8, {BART}",
        "ctranslate2",
        ("ctranslate2",),
        recipe="ctranslate2",
        own_environment=True,
        bytes_per_weight=8,
        other_model=BART,
        lacks=("encoder_no_repeat_ngram_size", "forced_eos_token_id"),
    ),
)
CONTESTANTS: Mapping[str, Contestant] = {contestant.name: contestant for contestant in LINE_UP}


def title(name: str) -> str:
    """What a contestant is called in tables."""
    return CONTESTANTS[name].title if name in CONTESTANTS else name


def default_names(precision: str, *, rivals: bool) -> tuple[str, ...]:
    """The usual line-up for an export of `precision`: torch, the stock class, ours twice (the A/A pair), and rivals."""
    ours = f"ours-{precision}"
    line_up = (REFERENCE, f"stock-{precision}", ours, ours)
    if not rivals:
        return line_up
    variants = (name for name in ("ours-fp32", "ours-int4") if name != ours)
    others = (name for name, contestant in CONTESTANTS.items() if not contestant.export and name != REFERENCE)
    return (*line_up, *variants, *others)


def worker_command(loader: str, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command that starts a worker for one of `benchmarks.worker.LOADERS` with an interpreter."""
    return (str(python), "-m", "benchmarks.worker", loader)


def prepare(
    names: Sequence[str],
    checkpoint: Checkpoint,
    exports: Mapping[str, Path],
    cache: Cache,
    progress: Callable[[str], None],
) -> tuple[list[Contestant], list[Missing]]:
    """Make what the contestants load, unless it is there already.

    Args:
        names: of `CONTESTANTS`; one that comes twice runs twice.
        checkpoint: what they all run.
        exports: folders to use as exports of the checkpoint, by precision; others are made in the cache.
        cache: where exports, environments and converted models are kept.
        progress: told about each stage.

    Returns:
        Those that are ready, and the rivals that are not, with the reason.
    """
    ready: list[Contestant] = []
    missing: list[Missing] = []
    # Nothing can be said without the reference and our own engine: a run stops when one of them fails.
    required = {REFERENCE, *[name for name in names if CONTESTANTS[name].loader == "ours"][:1]}
    for name in dict.fromkeys(names):
        contestant = CONTESTANTS[name]
        python, folder = Path(sys.executable), checkpoint.folder
        try:
            if contestant.export:
                precision = contestant.precision
                folder = exports.get(precision) or cached_export(checkpoint, precision, cache, progress)
            elif contestant.recipe:
                if contestant.own_environment:
                    python = python_with(RIVALS / f"{contestant.recipe}.txt", cache, progress)
                folder = _converted(contestant, python, checkpoint, cache, progress)
        except RivalError as error:
            progress(f"{name} is missing: {error}")
            missing.append(Missing(name=name, reason=str(error).rstrip(".")))
            continue
        made: dict[str, Any] = {
            "details": contestant.details.format(flavour=optimum.flavour()),
            "rival": name not in required,
            "command": worker_command(contestant.loader, python),
            "folder": folder,
        }
        ready += [replace(contestant, label=label, **made) for label in (name, name + AGAIN)[: names.count(name)]]
    return ready, missing


def _converted(
    contestant: Contestant, python: Path, checkpoint: Checkpoint, cache: Cache, progress: Callable[[str], None]
) -> Path:
    def make(folder: Path) -> None:
        _check_memory(contestant, checkpoint)
        progress(f"converting {checkpoint.name} for {contestant.name} (once)")
        ending = process.run([python, "-m", "benchmarks.rivals", contestant.name, checkpoint.folder, folder])
        if ending.code != 0:
            raise RivalError(f"The checkpoint cannot be converted: the conversion {ending}")
        write_cost(folder, ending)

    sources = [RIVALS / f"{contestant.recipe}.py", RIVALS / f"{contestant.recipe}.txt"]
    made_from = {
        "checkpoint": checkpoint.fingerprint,
        "recipe": fingerprint(path for path in sources if path.exists()),
        "flavour": optimum.flavour(),
        "versions": None if contestant.own_environment else versions(),
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
