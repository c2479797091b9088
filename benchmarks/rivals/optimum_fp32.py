"""Optimum's own export in fp32, its decoders merged, as `ORTModelForSeq2SeqLM.from_pretrained(export=True)` has it."""

from __future__ import annotations

from pathlib import Path


def convert(checkpoint: Path, output: Path) -> None:
    """Encoder and merged decoder, with settings and tokenizer."""
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import AutoTokenizer, BlenderbotForConditionalGeneration

    model = BlenderbotForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    output.mkdir()
    onnx_export_from_model(model, output, task="text2text-generation-with-past", do_validation=False)
    for part in (model.config, model.generation_config, AutoTokenizer.from_pretrained(checkpoint)):
        part.save_pretrained(output)
