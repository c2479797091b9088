"""One export from checkpoint to finished folder, stage by stage."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import checkpoint as checkpoints
from export import output, quantizer, resources
from export.checkpoint import Checkpoint
from export.config import ExportConfig, Quantization
from export.decoder_graph import cross_states_graph, decoder_step_graph
from export.errors import VerificationError
from export.graph_builder import GraphBuilder
from export.parity import TIE_TOLERANCE
from export.progress import ConsoleProgress
from export.tensors import TABLES, Weights, shapes_of
from export.weights import WeightFile
from models import manifest
from models.folder import CONFIG, CROSS_STATES, DECODER_STEP, model_name
from service.engine.machine import available_memory

FUSED_GRAPHS = {CROSS_STATES: cross_states_graph, DECODER_STEP: decoder_step_graph}
VERSIONED_PACKAGES = ("optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime", "tokenizers")


def check(config: ExportConfig) -> None:
    """Find out whether an export could be made, without making it or downloading weights.

    Raises:
        ExportError: it could not.
    """
    output.check_free(config.output_dir, force=config.force)
    checkpoint = checkpoints.locate(config.model, config.revision, weights=False)
    settings = checkpoints.read_settings(checkpoint)
    scheme = quantizer.scheme_for(config.quantization, settings.config.d_model)
    resources.check(shapes_of(settings.config), scheme, config.output_dir)
    if checkpoint.revision is None:
        Weights(checkpoint.path, settings.config).check_values()
    with output.staging(config.output_dir):
        pass


def run(config: ExportConfig, progress: ConsoleProgress) -> Path:
    """Export a checkpoint and return the folder written.

    Raises:
        ExportError: any of its kinds; nothing is left behind then.
    """
    output.check_free(config.output_dir, force=config.force)
    checkpoint = checkpoints.locate(config.model, config.revision, progress=progress)
    with progress.stage("Read the checkpoint"):
        _import_libraries()
        settings = checkpoints.read_settings(checkpoint)
        scheme = quantizer.scheme_for(config.quantization, settings.config.d_model)
        resources.check(shapes_of(settings.config), scheme, config.output_dir)
        weights = Weights(checkpoint.path, settings.config)
        halved = {name for name in TABLES if weights.fits_half_precision(name)}
    with output.staging(config.output_dir) as folder:
        finished, work = folder / "finished", folder / "work"
        finished.mkdir()
        work.mkdir()
        with progress.stage("Convert to ONNX"):
            from export import converter

            stock = converter.convert(settings.config, scheme, halved, work)
        title = (
            "Write the weights" if config.quantization is Quantization.NONE else f"Quantise to {config.quantization}"
        )
        with progress.stage(title, weights.size) as advance:
            with WeightFile(finished, weights, scheme, advance) as file:
                for name, build in FUSED_GRAPHS.items():
                    file.save(build(settings.config, GraphBuilder(scheme, weights.shapes, halved)), name)
                for name, graph in stock.items():
                    file.save(graph, name)
            settings.save(finished)
        verification: dict[str, Any] = {}
        if config.verify:
            verification = _verify(checkpoint, finished, config.quantization, progress)
        with progress.stage("Write the manifest"):
            _write_manifest(config, checkpoint, finished, verification)
            output.check_free(config.output_dir, force=config.force)
            output.put_in_place(finished, config.output_dir)
    return config.output_dir


def summary(folder: Path, seconds: float) -> str:
    """What an export has made, what it took, and what it was compared with, in one line."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    replies = manifest.read(folder).verification.get("replies", ())
    equal, compared = (sum(entry[name] for entry in replies) for name in ("equal", "compared"))
    verified = f"{equal} of {compared} replies equal to torch's" if compared else "not compared with torch"
    peak = resources.peak_memory()
    return f"{folder}: {size / 1e6:.0f} MB in {seconds:.0f} s, peak memory {peak / 1e9:.1f} GB, {verified}"


def _import_libraries() -> None:
    """Import what the stages need, with signals held back: torch aborts the process when one interrupts its import."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    handlers = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        for name in ("torch", "transformers.models.blenderbot.modeling_blenderbot", "optimum.exporters.onnx"):
            importlib.import_module(name)
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _verify(
    checkpoint: Checkpoint, exported: Path, quantization: Quantization, progress: ConsoleProgress
) -> dict[str, Any]:
    needed, free = resources.verification_bytes(exported), available_memory()
    if free < needed:
        progress.note(
            f"Not compared with torch: that takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are available."
        )
        return {}
    command = [sys.executable, "-m", "export.verify", str(checkpoint.path.absolute()), str(exported.absolute())]
    with progress.stage("Compare with torch"):
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise VerificationError(f"The exported model cannot be run ({reason}).")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    if quantization is Quantization.NONE and result["largest_gap"] > TIE_TOLERANCE:
        raise VerificationError(
            f"The exported model answers differently from the checkpoint ({_describe(result)}); nothing was written."
        )
    progress.note(_describe(result))
    return result


def _describe(verification: dict[str, Any]) -> str:
    counts = [
        f"{entry['decoder']} at beam {entry['beams']}: {entry['equal']} of {entry['compared']} replies equal"
        for entry in verification["replies"]
    ]
    return "Against torch, " + "; ".join(counts)


def _write_manifest(config: ExportConfig, checkpoint: Checkpoint, finished: Path, verification: dict[str, Any]) -> None:
    settings = json.loads((finished / CONFIG).read_text(encoding="utf-8"))
    scheme = quantizer.scheme_for(config.quantization, settings["d_model"])
    manifest.Manifest(
        name=model_name(config.model),
        source=checkpoint.source,
        revision=checkpoint.revision,
        notice=str(settings.get("notice", "")),
        quantization={"precision": config.quantization.value, **scheme.describe()},
        versions={package: version(package) for package in VERSIONED_PACKAGES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verification=verification,
        files=manifest.record_files(finished),
    ).write(finished)
