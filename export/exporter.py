"""One export from checkpoint to finished folder, stage by stage."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import psutil

from export import converter, output, resources
from export.checkpoint import Checkpoint
from export.config import ExportConfig
from export.decoder_graph import cross_states_graph, decoder_step_graph
from export.errors import ExportError
from export.graph_builder import GraphBuilder
from export.parity import TIE_TOLERANCE
from export.progress import ConsoleProgress
from export.quantizer import scheme_for
from export.settings import read_settings
from export.tensors import Weights, shapes_of
from export.weights import WeightFile
from models import manifest
from models.folder import CROSS_STATES, DECODER_STEP, WEIGHTS, model_name
from service.engine.machine import available_memory

FUSED_GRAPHS = {CROSS_STATES: cross_states_graph, DECODER_STEP: decoder_step_graph}
VERSIONED_PACKAGES = ("optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime", "tokenizers")


def export(checkpoint: Checkpoint, config: ExportConfig, progress: ConsoleProgress) -> None:
    """Export a checkpoint, or only find out whether that could be done.

    Raises:
        ExportError: any of its kinds; nothing is left behind then.
    """
    settings = read_settings(checkpoint.path)
    shapes = shapes_of(settings.config)
    scheme = scheme_for(config.quantization, settings.config.d_model)
    resources.check(shapes, scheme, config.output_dir)
    with output.staging(config.output_dir) as folder:
        if config.check and checkpoint.revision is not None:  # without its weights
            return
        weights = Weights(checkpoint.path, settings.config)
        if config.check:
            for name in shapes:
                weights.read(name)
            return
        (work := folder / "work").mkdir()
        (finished := folder / "finished").mkdir()
        with progress.stage("Convert to ONNX"):
            traced = converter.trace(settings.config, work)
        size = sum(weights.sizes.values())
        with progress.stage("Write the weights", size) as advance, (finished / WEIGHTS).open("xb") as file:
            weight_file = WeightFile(file, weights, scheme, advance)
            for name, build in FUSED_GRAPHS.items():
                onnx.save(build(settings.config, GraphBuilder(weight_file)), finished / name)
            for name, graph in traced.items():
                onnx.save(converter.add_weights(graph, GraphBuilder(weight_file)), finished / name)
        settings.save(finished)
        outcome = _verify(checkpoint.path, finished, config.quantization, progress) if config.verify else {}
        compared = "; ".join(f"{way}: {n} of {outcome['compared']}" for way, n in outcome.get("equal", {}).items())
        if (outcome.get("largest_gap") or 0.0) > TIE_TOLERANCE:
            raise ExportError(f"The exported model answers differently from the checkpoint (equal: {compared}).")
        with progress.stage("Write the manifest"):
            manifest.Manifest(
                name=model_name(config.model),
                source=checkpoint.source,
                revision=checkpoint.revision,
                notice=str(getattr(settings.config, "notice", "")),
                quantization={"precision": config.quantization, **scheme.describe()},
                versions={package: version(package) for package in VERSIONED_PACKAGES},
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                verification=outcome,
                files=manifest.record_files(finished),
            ).write(finished)
            output.check_free(config.output_dir, force=config.force)
            output.put_in_place(finished, config.output_dir)
    took = time.time() - psutil.Process().create_time()
    cost = f"{_size(config.output_dir) / 1e6:.0f} MB in {took:.0f} s, peak memory {_peak_memory() / 1e9:.1f} GB"
    progress.note(f"{config.output_dir}: {cost}")
    if compared:
        choice = "freely" if config.quantization == "none" else "among the same hypotheses"
        progress.note(f"Replies that torch in fp32, choosing {choice}, gives too: {compared}")
    progress.note(f"Serve it with: python -m service --model {config.output_dir}")


def _verify(checkpoint: Path, exported: Path, quantization: str, progress: ConsoleProgress) -> Mapping[str, Any]:
    """Compare with torch in a process of its own; nothing where there is too little memory for that.

    Raises:
        ExportError: the exported model cannot be run.
    """
    # The stock class and ours, one after the other, and torch with one matrix at a time.
    needed, free = 0.9 + 1.6 * _size(exported) / 1e9, available_memory() / 1e9
    if free < needed:
        progress.note(f"Not compared with torch: that takes {needed:.1f} GB and {free:.1f} GB are available.")
        return {}
    command = [sys.executable, "-m", "export.verify", str(checkpoint), str(exported), quantization]
    with progress.stage("Compare with torch"):
        child = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    if child.returncode == 0:
        return dict(json.loads(child.stdout.splitlines()[-1]))
    reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    if child.returncode == -signal.SIGKILL or "MemoryError" in reason or "alloc" in reason:
        progress.note(f"Not compared with torch: that ran out of memory ({reason}).")
        return {}
    raise ExportError(f"The exported model cannot be run ({reason}).")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _peak_memory() -> int:
    """Largest resident memory of this process and its child together, in bytes; that of the child is an estimate."""
    alone, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024
    beside = psutil.Process().memory_info().rss if child else 0
    return max(alone * unit, child * unit + beside)
