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
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    from export import converter

    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    settings = model.generation_config
    config: Any = getattr(AutoQuantizationConfig, flavour())(is_static=False, per_channel=False)
    output.mkdir()
    with TemporaryDirectory(dir=output) as scratch:
        converter.convert(model, Path(scratch))
        del model
        gc.collect()
        for name in (converter.ENCODER, converter.DECODER, converter.DECODER_WITH_PAST):
            quantizer = ORTQuantizer.from_pretrained(scratch, file_name=name)
            quantizer.quantize(save_dir=output, quantization_config=config, file_suffix="")
    settings.save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)
