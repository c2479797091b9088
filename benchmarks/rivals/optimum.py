"""Optimum's own exports for the stock `ORTModelForSeq2SeqLM`: in fp32, and in 8 bits as `ORTQuantizer` makes them."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.environment import this_machine

TASK = "text2text-generation-with-past"


def flavour() -> str:
    """The configuration of `AutoQuantizationConfig` for this processor."""
    machine = this_machine()
    if machine.architecture in ("arm64", "aarch64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in machine.cpu_flags else "avx2"


def convert(checkpoint: Path, output: Path, *, quantized: bool) -> None:
    """In fp32, encoder and merged decoder, as `ORTModelForSeq2SeqLM.from_pretrained(export=True)` has them.

    Quantised, encoder and both decoders with 8-bit weights and dynamic activations.
    """
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    model: Any = BlenderbotForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    # What `ORTQuantizer` forgets.
    parts = (model.config, model.generation_config, AutoTokenizer.from_pretrained(checkpoint))
    output.mkdir()
    if quantized:
        with TemporaryDirectory(dir=output) as scratch:
            onnx_export_from_model(model, Path(scratch), task=TASK, no_post_process=True, do_validation=False)
            del model
            gc.collect()
            _quantize(Path(scratch), output)
    else:
        onnx_export_from_model(model, output, task=TASK, do_validation=False)
    for part in parts:
        part.save_pretrained(output)


def _quantize(exported: Path, output: Path) -> None:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    config: Any = getattr(AutoQuantizationConfig, flavour())(is_static=False, per_channel=False)
    for name in ("encoder_model", "decoder_model", "decoder_with_past_model"):
        quantizer = ORTQuantizer.from_pretrained(exported, file_name=f"{name}.onnx")
        quantizer.quantize(save_dir=output, quantization_config=config, file_suffix="")
