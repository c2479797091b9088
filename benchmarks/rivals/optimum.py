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


def convert_fp32(checkpoint: Path, output: Path) -> None:
    """Encoder and merged decoder, as `ORTModelForSeq2SeqLM.from_pretrained(export=True)` has them."""
    from optimum.exporters.onnx import onnx_export_from_model

    model, parts = _loaded(checkpoint)
    output.mkdir()
    onnx_export_from_model(model, output, task=TASK, do_validation=False)
    for part in parts:
        part.save_pretrained(output)


def convert_dynamic_int8(checkpoint: Path, output: Path) -> None:
    """Encoder and both decoders with dynamic activations; what `ORTQuantizer` forgets, the settings, is copied."""
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    model, parts = _loaded(checkpoint)
    config: Any = getattr(AutoQuantizationConfig, flavour())(is_static=False, per_channel=False)
    output.mkdir()
    with TemporaryDirectory(dir=output) as scratch:
        onnx_export_from_model(model, Path(scratch), task=TASK, no_post_process=True, do_validation=False)
        del model
        gc.collect()
        for name in ("encoder_model", "decoder_model", "decoder_with_past_model"):
            quantizer = ORTQuantizer.from_pretrained(scratch, file_name=f"{name}.onnx")
            quantizer.quantize(save_dir=output, quantization_config=config, file_suffix="")
    for part in parts:
        part.save_pretrained(output)


def _loaded(checkpoint: Path) -> tuple[Any, tuple[Any, ...]]:
    """The model in fp32, and its configuration, settings and tokenizer."""
    import torch
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    return model, (model.config, model.generation_config, AutoTokenizer.from_pretrained(checkpoint))
