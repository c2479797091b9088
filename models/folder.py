"""The names that exporter, engine and service know an exported folder and its files by."""

from __future__ import annotations

from pathlib import Path

ENCODER = "encoder_model.onnx"
MERGED_DECODER = "decoder_model_merged.onnx"
CROSS_STATES = "cross_states.onnx"
DECODER_STEP = "decoder_step.onnx"
WEIGHTS = "weights.bin"
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER = "tokenizer.json"
MANIFEST = "manifest.json"

MODELS = Path(__file__).resolve().parent
DEFAULT_MODEL = "facebook/blenderbot-400M-distill"
DEMO_CHECKPOINT = MODELS / "demo" / "checkpoint"
# Precisions as the exporter takes them and as folder names show them, in the order in which the service looks for them.
PRECISIONS = {"int8": "int8", "int4": "int4", "none": "fp32"}


class ModelFolderError(Exception):
    """A model folder that is missing, damaged or not one of ours; the message is one sentence that says what to do."""


def model_name(model: str) -> str:
    """The short name of a model.

    Args:
        model: Hub id, or path of a checkpoint; one in a folder called `checkpoint` has the name of the folder above.
    """
    source = Path(model).expanduser()
    if not (source.is_absolute() or source.exists()):
        return model.rsplit("/", 1)[-1]
    name = source.resolve().name
    return source.resolve().parent.name if name == "checkpoint" else name


def folder_name(model: str, precision: str) -> str:
    """The name of the folder that a model is exported to when none is given.

    Args:
        model: Hub id, or path of a checkpoint.
        precision: one of `PRECISIONS`.
    """
    return f"{model_name(model)}-{PRECISIONS[precision]}"
