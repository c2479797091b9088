"""PyTorch's own ways to run a checkpoint, as they run inside their subprocess."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.backends import GenerateBackend, Loaded


@dataclass
class TorchBackend(GenerateBackend):
    """A torch model, which can also say what it thinks of the replies of others."""

    def score(self, ids: list[int], replies: list[list[int]]) -> list[float]:
        """Log-probability of each reply, in nats, without its last token, which the settings may force."""
        import torch

        start = self.model.config.decoder_start_token_id
        scores = []
        for reply in replies:
            with torch.inference_mode():
                logits = self.model(
                    input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[start, *reply[:-1]]])
                ).logits[0]
            chosen = torch.log_softmax(logits.float(), dim=-1).gather(1, torch.tensor(reply)[:, None])
            scores.append(float(chosen[:-1].sum()))
        return scores


def load_fp32(path: str, threads: int) -> Loaded:
    """PyTorch fp32, as in the usual tutorial: `BlenderbotForConditionalGeneration.generate`."""
    return _loaded(path, threads, "float32", lambda model: model)


def load_bf16(path: str, threads: int) -> Loaded:
    """The same with weights and activations in bfloat16."""
    return _loaded(path, threads, "bfloat16", lambda model: model)


def load_dynamic_int8(path: str, threads: int) -> Loaded:
    """Every linear layer with 8-bit weights and activations quantised as they come, by torch's own quantiser."""

    def quantised(model: Any) -> Any:
        import torch

        quantize: Any = torch.ao.quantization.quantize_dynamic
        return quantize(model, {torch.nn.Linear}, dtype=torch.qint8)

    return _loaded(path, threads, "float32", quantised)


def load_compiled(path: str, threads: int) -> Loaded:
    """fp32 with a compiled `forward`, of dynamic shapes since the cache grows; compiling is part of the warm-up."""

    def compiled(model: Any) -> Any:
        import torch

        model.forward = torch.compile(model.forward, dynamic=True)
        return model

    return _loaded(path, threads, "float32", compiled)


def _loaded(path: str, threads: int, dtype: str, change: Callable[[Any], Any]) -> Loaded:
    started = time.perf_counter()
    import torch
    from transformers import BlenderbotForConditionalGeneration

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    model = change(BlenderbotForConditionalGeneration.from_pretrained(path, dtype=getattr(torch, dtype)).eval())
    backend = TorchBackend(model, path, lambda: [torch.get_num_threads()])
    return Loaded(backend, imported - started, time.perf_counter() - imported)
