"""Checkpoint to fp32 ONNX, done by Optimum."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from transformers import BlenderbotForConditionalGeneration

ENCODER = "encoder_model.onnx"
DECODER = "decoder_model.onnx"
DECODER_WITH_PAST = "decoder_with_past_model.onnx"
MERGED_DECODER = "decoder_model_merged.onnx"


def convert(model: BlenderbotForConditionalGeneration, folder: Path) -> None:
    """Write encoder, first-step decoder and later-step decoder as three fp32 ONNX files into `folder`."""
    from optimum.exporters.onnx import onnx_export_from_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx_export_from_model(
            model, folder, task="text2text-generation-with-past", no_post_process=True, do_validation=False
        )


def merge(folder: Path) -> onnx.ModelProto:
    """Join the two decoders of `folder` into one graph with a `use_cache_branch` switch that shares every weight."""
    from optimum.onnx import merge_decoders

    merged: onnx.ModelProto = merge_decoders(
        folder / DECODER, folder / DECODER_WITH_PAST, strict=False, save_path=folder / MERGED_DECODER
    )
    return merged
