"""What contestants and servers are called in the README, the report and the plots."""

from __future__ import annotations

TITLES = {
    "torch-fp32": "torch fp32 (the tutorial's way)",
    "torch-bf16": "torch bf16",
    "torch-dynamic-int8": "torch, dynamic int8",
    "torch-compile": "torch.compile, fp32",
    "ours-int8": "**this project**, int8",
    "ours-int4": "**this project**, int4",
    "ours-fp32": "**this project**, fp32",
    "onnxruntime-int8": "this project on ONNX Runtime's kernels, int8",
    "onnxruntime-int4": "this project on ONNX Runtime's kernels, int4",
    "stock-int8": "this export, int8, in the stock `ORTModelForSeq2SeqLM`",
    "optimum-fp32": "stock Optimum, fp32",
    "stock-dynamic-int8": "stock Optimum, dynamic int8",
    "openvino-int8": "OpenVINO, int8 weights",
    "openvino-int4": "OpenVINO, int4 weights",
    "ctranslate2-int8": "CTranslate2, int8 (*)",
}
SERVERS = {
    "ours": "**this project**, int8",
    "stock-dynamic-int8": "stock Optimum, dynamic int8, one reply after the other",
    "tutorial": "the tutorial's app, torch fp32",
}
SHORT = {
    "torch-fp32": "torch fp32",
    "stock-int8": "this export in the stock class",
    "ours": "this project, int8",
    "stock-dynamic-int8": "stock Optimum, dynamic int8",
}


def plain(name: str) -> str:
    """A title without Markdown, short enough for a plot."""
    title = SHORT.get(name) or TITLES.get(name) or SERVERS.get(name, name)
    return title.replace("**", "").replace("`", "")
