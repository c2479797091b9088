"""Why the engine's settings are what they are: whole replies under other session options, products in other blocks."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.output import machine_line, wrapped

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from export.quantizer import WeightScheme

FORMAT = 1
NEW_TOKENS = 60
SOURCE_TOKENS = 28
REPLIES = 5
STEPS = 12
# Config entries of a session that differ from the engine's own; "" stands for those.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "the engine's own": {},
    "threads spin on between runs": {"session.force_spinning_stop": "0"},
    "threads never spin": {"session.intra_op.allow_spinning": "0"},
    "weights not packed": {"session.disable_prepacking": "1"},
    "no memory arena": {"arena": "0"},
    "no memory pattern": {"pattern": "0"},
    "one thread": {"threads": "1"},
}
SCHEMES = ((8, 32), (8, 64), (8, 128), (8, 256), (4, 32), (4, 64), (4, 128), (4, 256))


@dataclass(frozen=True)
class VariantTime:
    """Whole replies under one set of session options.

    Attributes:
        name: of the variant.
        load_s: seconds from the files to a model in memory.
        resident_bytes: of the process, after the replies.
        greedy_s, beam10_s: a reply of `NEW_TOKENS` tokens each, one value a reply.
    """

    name: str
    load_s: float
    resident_bytes: int
    greedy_s: list[float]
    beam10_s: list[float]


@dataclass(frozen=True)
class SchemeTime:
    """All weight matrices of one decoder step multiplied once, with weights of one kind.

    Attributes:
        bits: bits per weight.
        block_size: weights that share a scale.
        ms: milliseconds by number of rows; median of `STEPS`.
    """

    bits: int
    block_size: int
    ms: Mapping[int, float]


@dataclass(frozen=True)
class Tuning:
    """Everything a reader needs to judge the figures."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    exported: str
    threads: int
    variants: Sequence[VariantTime]
    schemes: Sequence[SchemeTime]

    def as_json(self) -> dict[str, Any]:
        """Raw values; seconds, milliseconds and bytes as the names say."""
        return {
            "benchmark": "tuning",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "exported": self.exported,
                "threads": self.threads,
                "new_tokens": NEW_TOKENS,
                "source_tokens": SOURCE_TOKENS,
            },
            "session_options": [asdict(variant) for variant in self.variants],
            "products": [asdict(scheme) for scheme in self.schemes],
        }

    def as_text(self) -> str:
        """Two tables."""
        head = [
            f"Session options: replies of {NEW_TOKENS} tokens to sources of {SOURCE_TOKENS}, medians of {REPLIES}",
            machine_line(self.machine),
            f"model: {self.exported}, {self.threads} threads, onnxruntime {self.versions['onnxruntime']}",
            "",
        ]
        width = max(len(variant.name) for variant in self.variants)
        lines = [f"{'':{width}}  {'greedy s':>8}  {'beam 10 s':>9}  {'load s':>6}  {'resident MB':>11}"]
        lines += [
            f"{variant.name:{width}}  {statistics.median(variant.greedy_s):8.3f}  "
            f"{statistics.median(variant.beam10_s):9.3f}  {variant.load_s:6.1f}  {variant.resident_bytes / 1e6:11.0f}"
            for variant in self.variants
        ]
        rows = list(self.schemes[0].ms) if self.schemes else []
        lines += ["", "all products of a step, ms by rows  " + "  ".join(f"{row:>6}" for row in rows)]
        lines += [
            f"{scheme.bits} bits, blocks of {scheme.block_size:<15}  "
            + "  ".join(f"{scheme.ms[row]:6.1f}" for row in rows)
            for scheme in self.schemes
        ]
        return "\n".join([*wrapped(head), *lines])


def variant_time(name: str, folder: Path, threads: int) -> VariantTime:
    """Measure one of `VARIANTS` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_variant_time, (name, str(folder), threads))


def _variant_time(name: str, folder: str, threads: int) -> VariantTime:
    import numpy as np
    import psutil
    import torch

    from service.engine.network import session_options
    from service.ort_model import ORTBlenderbotForConditionalGeneration

    changes = dict(VARIANTS[name])
    options = session_options(int(changes.pop("threads", threads)))
    options.enable_cpu_mem_arena = changes.get("arena") != "0"
    options.enable_mem_pattern = changes.get("pattern") != "0"
    for key, value in changes.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value)
    started = time.perf_counter()
    loaded = ORTBlenderbotForConditionalGeneration.from_pretrained(folder, session_options=options)
    load_s = time.perf_counter() - started
    random = np.random.default_rng(0)
    taken: dict[int, list[float]] = {1: [], 10: []}
    for beams, seconds in taken.items():
        for _ in range(REPLIES + 1):
            ids = torch.tensor([[*random.integers(4, loaded.config.vocab_size, SOURCE_TOKENS - 1), 2]])
            started = time.perf_counter()
            loaded.generate(ids, num_beams=beams, min_length=NEW_TOKENS + 1, max_length=NEW_TOKENS + 1)
            seconds.append(time.perf_counter() - started)
    resident = psutil.Process().memory_info().rss
    return VariantTime(name, load_s, resident, taken[1][1:], taken[10][1:])


def scheme_time(bits: int, block_size: int, config: Mapping[str, Any], rows: Sequence[int], threads: int) -> SchemeTime:
    """Multiply through all weight matrices of a decoder step, with random weights.

    Args:
        bits: bits per weight.
        block_size: weights that share a scale.
        config: content of a checkpoint's `config.json`.
        rows: numbers of rows to measure.
        threads: processor threads.
    """
    import numpy as np

    from export.quantizer import WeightScheme

    session = _products(WeightScheme(bits, bits, bits, bits, block_size=block_size), config, threads)
    random = np.random.default_rng(0)
    found = {}
    for count in rows:
        inputs = {
            entry.name: random.standard_normal((count, entry.shape[1])).astype(np.float32)
            for entry in session.get_inputs()
        }
        taken = []
        for _ in range(STEPS):
            started = time.perf_counter()
            session.run(None, inputs)
            taken.append((time.perf_counter() - started) * 1e3)
        found[count] = statistics.median(taken)
    return SchemeTime(bits, block_size, found)


def _products(scheme: WeightScheme, config: Mapping[str, Any], threads: int) -> InferenceSession:
    import numpy as np
    import onnx
    from onnxruntime import InferenceSession

    from export.graph_builder import GraphBuilder
    from export.quantizer import quantize_matrix
    from service.engine.network import session_options

    width, inner = config["d_model"], config["decoder_ffn_dim"]
    shapes = [(3 * width, width), (width, width), (width, width), (width, width), (inner, width), (width, inner)]
    products = shapes * config["decoder_layers"] + [(config["vocab_size"], width)]
    graph = GraphBuilder(scheme, {f"product{number}.weight": shape for number, shape in enumerate(products)})
    for size in (width, inner):
        graph.input(f"x{size}", np.float32, ["row", size])
    for number, (out, entering) in enumerate(products):
        graph.output(graph.linear(f"x{entering}", f"product{number}", f"y{number}"), np.float32, ["row", out])
    model = graph.build("products").model
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    random = np.random.default_rng(0)
    for number, shape in enumerate(products):
        bits = scheme.bits_of(f"product{number}.weight")
        assert bits is not None
        packed, scales = quantize_matrix(random.standard_normal(shape, np.float32), scheme, bits)
        initializers[f"y{number}.weight"].CopyFrom(onnx.numpy_helper.from_array(packed, f"y{number}.weight"))
        initializers[f"y{number}.scales"].CopyFrom(onnx.numpy_helper.from_array(scales, f"y{number}.scales"))
    return InferenceSession(model.SerializeToString(), session_options(threads), providers=["CPUExecutionProvider"])
