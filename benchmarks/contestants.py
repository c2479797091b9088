"""Who can take part in a latency run, and what it takes to get them ready."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import child, environment
from benchmarks.cache import Cache, fingerprint
from benchmarks.cost import Cost
from benchmarks.errors import RivalError
from benchmarks.models import QUANTIZATIONS, Checkpoint, cached_export
from benchmarks.process import worker_command
from benchmarks.rivals import stock_dynamic
from benchmarks.runs import Contestant, Missing
from benchmarks.venvs import python_with

RIVALS = Path(__file__).resolve().parent / "rivals"
BART = "BART of the same shape with random weights (it has no Blenderbot loader)"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """One way to run a checkpoint.

    Attributes:
        name: on the command line and in tables.
        title: what it is, for the legend; {flavour} stands for the kind of quantisation that suits the processor.
        backend: its loader, of `benchmarks.worker.LOADERS`.
        packages: those whose versions matter to it.
        weights: precision of the weights that it reads, of `benchmarks.floor.WEIGHT_BITS`.
        precision: of the export of ours that it loads, of `benchmarks.models.QUANTIZATIONS`; "" for none.
        recipe: module of `benchmarks.rivals` that converts the checkpoint for it; "" for none.
        requirements: whether that module has a requirements file, for an environment of its own.
        bytes_per_weight: peak memory of the conversion.
        other_model: what it runs in place of the checkpoint; "" for the checkpoint.
        lacks: settings of the checkpoint that it cannot apply.
    """

    name: str
    title: str
    backend: str
    packages: tuple[str, ...]
    weights: str
    precision: str = ""
    recipe: str = ""
    requirements: bool = False
    bytes_per_weight: float = 0.0
    other_model: str = ""
    lacks: tuple[str, ...] = ()

    def cached(self, checkpoint: Checkpoint) -> str:
        """Where the cache keeps what it loads."""
        return f"models/{checkpoint.name}-{self.precision or self.name}"

    @property
    def exact(self) -> bool:
        """It computes what the reference computes, in the same precision."""
        return self.weights == "fp32" and not self.other_model


def _torch(kind: str, title: str, weights: str) -> Entry:
    return Entry(f"torch-{kind}", title, f"torch-{kind}", ("torch", "transformers"), weights)


def _exports() -> list[Entry]:
    entries = []
    for precision in QUANTIZATIONS:
        onnx = f"ONNX {precision}, our export, "
        packages = ("onnxruntime", "optimum-onnx", "transformers")
        entries += [
            Entry(f"stock-{precision}", onnx + "stock ORTModelForSeq2SeqLM", "stock", packages, precision, precision),
            Entry(f"ours-{precision}", onnx + "fused step and beam search", "ours", packages[:1], precision, precision),
            Entry(
                f"onnxruntime-{precision}",
                onnx + "fused step and beam search on the kernels of ONNX Runtime",
                "ours-stock-kernels",
                packages[:1],
                precision,
                precision,
            ),
        ]
    return entries


def _openvino(bits: int) -> Entry:
    return Entry(
        f"openvino-int{bits}",
        f"OpenVINO int{bits} weights, stateful, OVModelForSeq2SeqLM",
        "openvino",
        ("openvino", "optimum-intel", "transformers"),
        f"int{bits}",
        recipe="openvino",
        requirements=True,
        bytes_per_weight=9.0,
    )


ENTRIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("torch-fp32", "torch fp32 eager, the tutorial's path", "torch", ("torch", "transformers"), "fp32"),
        *_exports(),
        _torch("bf16", "torch bf16 eager, weights and activations", "bf16"),
        _torch("dynamic-int8", "torch fp32 with its own dynamic int8 linear layers", "int8"),
        _torch("compile", "torch fp32, torch.compile(dynamic=True)", "fp32"),
        Entry(
            "optimum-fp32",
            "ONNX fp32, Optimum's own export, stock ORTModelForSeq2SeqLM",
            "stock",
            ("onnxruntime", "optimum-onnx", "transformers"),
            "fp32",
            recipe="optimum_fp32",
            bytes_per_weight=16.0,
        ),
        Entry(
            "stock-dynamic-int8",
            "ONNX int8, ORTQuantizer {flavour} dynamic, stock ORTModelForSeq2SeqLM",
            "stock",
            ("onnxruntime", "optimum-onnx", "transformers"),
            "int8",
            recipe="stock_dynamic",
            bytes_per_weight=27.0,
        ),
        _openvino(8),
        _openvino(4),
        Entry(
            "ctranslate2-int8",
            f"CTranslate2 int8, {BART}",
            "ctranslate2",
            ("ctranslate2",),
            "int8",
            recipe="ctranslate2",
            requirements=True,
            bytes_per_weight=8.0,
            other_model=BART,
            lacks=("encoder_no_repeat_ngram_size", "forced_eos_token_id"),
        ),
    )
}


def default_names(precision: str, *, rivals: bool) -> tuple[str, ...]:
    """The usual line-up for an export of `precision`: torch, the stock class, ours twice (the A/A pair), and rivals."""
    ours = f"ours-{precision}"
    line_up = ("torch-fp32", f"stock-{precision}", ours, ours)
    if not rivals:
        return line_up
    variants = (name for name in ("ours-fp32", "ours-int4") if name != ours)
    others = (entry.name for entry in ENTRIES.values() if not entry.precision and entry.name != "torch-fp32")
    return (*line_up, *variants, *others)


def prepare(
    names: Sequence[str],
    checkpoint: Checkpoint,
    exports: Mapping[str, Path],
    cache: Cache,
    progress: Progress,
) -> tuple[list[Contestant], list[Missing]]:
    """Make what the contestants load, unless it is there already.

    Args:
        names: of `ENTRIES`; one that comes twice runs twice.
        checkpoint: what they all run.
        exports: folders to use as exports of the checkpoint, by precision; others are made in the cache.
        cache: where exports, environments and converted models are kept.
        progress: told about each stage.

    Returns:
        Those that are ready, and the rivals that are not, with the reason.

    Raises:
        BenchmarkError: an export of ours failed.
    """
    ready: list[Contestant] = []
    missing: list[Missing] = []
    # Nothing can be said without the reference and our own engine: a run stops when one of them fails.
    required = {"torch-fp32", *[name for name in names if ENTRIES[name].backend == "ours"][:1]}
    for name in dict.fromkeys(names):
        entry = ENTRIES[name]
        try:
            command, folder = _parts(entry, checkpoint, exports, cache, progress)
        except RivalError as error:
            progress(f"{name} is missing: {error}")
            missing.append(Missing(name, str(error).rstrip(".")))
            continue
        for number in range(names.count(name)):
            ready.append(
                Contestant(
                    label=name if number == 0 else f"{name} (again)",
                    command=command,
                    path=folder,
                    name=name,
                    title=entry.title.format(flavour=stock_dynamic.flavour()),
                    packages=entry.packages,
                    precision=entry.weights,
                    exact=entry.exact,
                    rival=name not in required,
                    other_model=entry.other_model,
                    lacks=entry.lacks,
                )
            )
    return ready, missing


def _parts(
    entry: Entry, checkpoint: Checkpoint, exports: Mapping[str, Path], cache: Cache, progress: Progress
) -> tuple[tuple[str, ...], Path]:
    """The command of the worker and the folder it loads."""
    if entry.precision:
        folder = exports.get(entry.precision) or cached_export(checkpoint, entry.precision, cache, progress)
        return worker_command(entry.backend), folder
    if not entry.recipe:
        return worker_command(entry.backend), checkpoint.folder
    requirements = RIVALS / f"{entry.recipe}.txt"
    python = python_with(requirements, cache, progress) if entry.requirements else Path(sys.executable)
    return worker_command(entry.backend, python), _converted(entry, python, checkpoint, cache, progress)


def _converted(entry: Entry, python: Path, checkpoint: Checkpoint, cache: Cache, progress: Progress) -> Path:
    def make(folder: Path) -> None:
        _check_memory(entry, checkpoint)
        progress(f"converting {checkpoint.name} for {entry.name} (once)")
        ended = child.run([python, "-m", "benchmarks.rivals", entry.name, checkpoint.folder, folder])
        if ended.code != 0:
            raise RivalError(f"The checkpoint cannot be converted: the conversion {ended}")
        Cost.of(folder, ended).write(folder)

    sources = [RIVALS / f"{entry.recipe}.py", RIVALS / f"{entry.recipe}.txt"]
    made_from = {
        "checkpoint": checkpoint.fingerprint,
        "recipe": fingerprint(path for path in sources if path.exists()),
        "flavour": stock_dynamic.flavour(),
        "versions": None if entry.requirements else environment.versions(),
    }
    return cache.kept(entry.cached(checkpoint), made_from, make)


def _check_memory(entry: Entry, checkpoint: Checkpoint) -> None:
    from transformers import BlenderbotConfig

    from export.tensors import shapes_of
    from service.engine.machine import available_memory

    weights = sum(map(math.prod, shapes_of(BlenderbotConfig.from_pretrained(checkpoint.folder)).values()))
    needed, free = weights * entry.bytes_per_weight, available_memory()
    if needed > free:
        raise RivalError(f"The conversion needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are available")
