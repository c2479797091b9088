"""One export from checkpoint to finished folder, stage by stage."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import checkpoint as checkpoints
from export import converter, output, quantizer, resources
from export.checkpoint import Checkpoint
from export.config import ExportConfig, Quantization, default_output_dir
from export.decoder_graph import CROSS_STATES, DECODER_STEP, cross_states_graph, decoder_step_graph
from export.errors import VerificationError
from export.graph_builder import FusedGraph
from export.parity import TIE_TOLERANCE
from export.progress import ConsoleProgress
from export.tables import halve
from export.weights import WeightFile
from service.engine import manifest

if TYPE_CHECKING:
    import onnx

FUSED_GRAPHS = {CROSS_STATES: cross_states_graph, DECODER_STEP: decoder_step_graph}
VERSIONED_PACKAGES = ("optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime", "tokenizers")


def check(config: ExportConfig) -> None:
    """Find out whether an export could be made, without making it or downloading weights.

    Raises:
        ExportError: it could not.
    """
    output.check_free(config.output_dir, force=config.force)
    checkpoint = checkpoints.locate(config.model, config.revision, weights=False)
    checkpoints.read_settings(checkpoint)
    resources.check(checkpoints.parameter_count(checkpoint), config.quantization, config.output_dir)


def run(config: ExportConfig, progress: ConsoleProgress) -> Path:
    """Export a checkpoint and return the folder written.

    Raises:
        ExportError: any of its kinds; nothing is left behind then.
    """
    output.check_free(config.output_dir, force=config.force)
    with progress.stage("Find the checkpoint"):
        checkpoint = checkpoints.locate(config.model, config.revision, progress=progress)
        _import_libraries()
        settings = checkpoints.read_settings(checkpoint)
        resources.check(checkpoints.parameter_count(checkpoint), config.quantization, config.output_dir)
    with output.staging(config.output_dir) as folder:
        work, finished = folder / "work", folder / "finished"
        work.mkdir()
        finished.mkdir()
        with WeightFile(finished) as weights:
            with progress.stage("Load the checkpoint"):
                model = checkpoints.load(checkpoint)
                scheme = quantizer.scheme_for(config.quantization, model.config.d_model)
            with progress.stage("Build the fused decoder"):
                for name, build in FUSED_GRAPHS.items():
                    _save_fused(build(model, scheme), name, weights)
                converter.release_memory()
            with progress.stage("Convert to ONNX"):
                converter.convert(model, work)
                settings.save(work)
                del model
                converter.release_memory()
            if config.quantization is not Quantization.NONE:
                with progress.stage(f"Quantise the weights to {config.quantization}"):
                    for name in (converter.ENCODER, converter.DECODER, converter.DECODER_WITH_PAST):
                        quantizer.quantize(work / name, scheme)
                        converter.release_memory()
            with progress.stage("Merge the decoders"):
                _assemble(work, finished, weights)
        verification: dict[str, Any] = {}
        if config.verify:
            with progress.stage("Compare with torch"):
                verification = _verify(checkpoint, finished, config.quantization)
            progress.note(_describe(verification))
        with progress.stage("Write the manifest"):
            _write_manifest(config, checkpoint, work, finished, verification)
            output.check_free(config.output_dir, force=config.force)
            output.put_in_place(finished, config.output_dir)
    return config.output_dir


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


def _save_fused(graph: FusedGraph, name: str, weights: WeightFile) -> None:
    _save(graph.model, name, weights, graph.joined)


def _save(
    model: onnx.ModelProto, name: str, weights: WeightFile, joined: Mapping[str, Sequence[int]] | None = None
) -> None:
    halve(model)
    weights.save(model, name, joined)


def _assemble(work: Path, finished: Path, weights: WeightFile) -> None:
    """Add to the finished folder what the stock class loads: graphs, configuration and tokenizer."""
    import onnx

    _save(onnx.load(work / converter.ENCODER), converter.ENCODER, weights)
    _save(converter.merge(work), converter.MERGED_DECODER, weights)
    for path in work.glob("*.onnx*"):
        path.unlink()
    for path in work.iterdir():
        shutil.copyfile(path, finished / path.name)


def _verify(checkpoint: Checkpoint, exported: Path, quantization: Quantization) -> dict[str, Any]:
    command = [sys.executable, "-m", "export.verify", str(checkpoint.path.absolute()), str(exported.absolute())]
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
    return result


def _describe(verification: dict[str, Any]) -> str:
    counts = [
        f"{entry['decoder']} at beam {entry['beams']}: {entry['equal']} of {entry['compared']} replies equal"
        for entry in verification["replies"]
    ]
    return "Against torch, " + "; ".join(counts)


def _write_manifest(
    config: ExportConfig, checkpoint: Checkpoint, work: Path, finished: Path, verification: dict[str, Any]
) -> None:
    settings = json.loads((work / "config.json").read_text(encoding="utf-8"))
    scheme = quantizer.scheme_for(config.quantization, settings["d_model"])
    name = default_output_dir(config.model, config.quantization).name.rsplit("-", 1)[0]
    manifest.Manifest(
        name=name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        notice=str(settings.get("notice", "")),
        quantization={"precision": config.quantization.value, **scheme.describe()},
        versions={package: version(package) for package in VERSIONED_PACKAGES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verification=verification,
        files=manifest.record_files(finished),
    ).write(finished)
