"""The usual way to 8 bits: Optimum's export, then `ORTQuantizer` with dynamic activations, for the stock class."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import environment


def flavour() -> str:
    """The configuration of `AutoQuantizationConfig` for this processor."""
    machine = environment.machine()
    if machine["architecture"] in ("arm64", "aarch64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in machine["cpu_flags"] else "avx2"


def convert(checkpoint: Path, output: Path) -> None:
    """Encoder and both decoders, quantised; what `ORTQuantizer` forgets, the generation settings, is copied."""
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    kept = (model.config, model.generation_config, AutoTokenizer.from_pretrained(checkpoint))
    config: Any = getattr(AutoQuantizationConfig, flavour())(is_static=False, per_channel=False)
    output.mkdir()
    with TemporaryDirectory(dir=output) as scratch:
        task = "text2text-generation-with-past"
        onnx_export_from_model(model, Path(scratch), task=task, no_post_process=True, do_validation=False)
        del model
        gc.collect()
        for name in ("encoder_model", "decoder_model", "decoder_with_past_model"):
            quantizer = ORTQuantizer.from_pretrained(scratch, file_name=f"{name}.onnx")
            quantizer.quantize(save_dir=output, quantization_config=config, file_suffix="")
    for part in kept:
        part.save_pretrained(output)
