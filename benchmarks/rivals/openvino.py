"""OpenVINO through optimum-intel: `OVModelForSeq2SeqLM`, stateful, with compressed weights."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Engine, GenerateEngine


def load(path: str, threads: int) -> Engine:
    """A converted folder; torch, which runs the loop, gets the same threads."""
    import torch
    from optimum.intel import OVModelForSeq2SeqLM

    torch.set_num_threads(threads)
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = OVModelForSeq2SeqLM.from_pretrained(path, ov_config=settings)
    compiled = model.decoder.request.get_compiled_model()
    facts = {
        "inference_precision": str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
        "stateful": str(model.decoder.stateful).lower(),
    }

    def threads_of_parts() -> list[int]:
        parts = (model.encoder.request, model.decoder.request.get_compiled_model())
        return [torch.get_num_threads(), *(int(part.get_property("INFERENCE_NUM_THREADS")) for part in parts)]

    return GenerateEngine(model, path, threads_of_parts, facts=facts)


def convert(checkpoint: Path, output: Path, bits: int) -> None:
    """The defaults of optimum-intel: 8-bit weights with a scale and a zero point for each channel; 4-bit weights in
    groups of 128, embedding and output projection 8-bit."""
    from optimum.intel import OVModelForSeq2SeqLM, OVWeightQuantizationConfig
    from transformers import AutoTokenizer

    model = OVModelForSeq2SeqLM.from_pretrained(
        checkpoint, export=True, compile=False, quantization_config=OVWeightQuantizationConfig(bits=bits)
    )
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(output)
