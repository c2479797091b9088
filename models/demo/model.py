"""The demo model: made new, saved, and loaded again from either kind of folder."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BlenderbotConfig, BlenderbotForConditionalGeneration, BlenderbotTokenizerFast, GenerationConfig

from models.demo.config import BANNED_NGRAM, MAX_LENGTH, MAX_POSITIONS, MIN_LENGTH, TrainingConfig

POSITION_SCALE = 0.5
KIND_SHARE = 0.8
NOTICE = (
    "This is a small demo model for trying the service: it knows nothing, was trained on a few thousand "
    "short dialogues, and does not stand for the quality of BlenderBot."
)
COPY_SCALE = 3.0
NOISE_SCALE = 0.3


def new_model(
    config: TrainingConfig, vocab_size: int, kinds: Sequence[Sequence[int]]
) -> BlenderbotForConditionalGeneration:
    """An untrained Blenderbot of 400M-distill's kind, in float32.

    Embeddings are drawn with deviation 1/sqrt(d_model), since the model multiplies them by sqrt(d_model); positions
    start as sinusoids; what each block adds is scaled down by the number of blocks, and the encoder's layers but the
    last add nothing yet, so that they may be left out at first. So that names never seen can be copied, the pieces of
    names of one kind start with a direction in common, by which attention can find them, and the last cross-attention
    starts out handing on what it looks at.

    Args:
        config: shape of the model.
        vocab_size: rows of the embedding.
        kinds: ids of the tokens that begin a name, and of those that end one.
    """
    model = BlenderbotForConditionalGeneration(
        BlenderbotConfig(
            vocab_size=vocab_size,
            max_position_embeddings=MAX_POSITIONS,
            d_model=config.d_model,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            encoder_ffn_dim=config.encoder_ffn,
            decoder_ffn_dim=config.decoder_ffn,
            activation_function="gelu",
            dropout=config.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
            init_std=config.d_model**-0.5,
            scale_embedding=True,
            normalize_before=True,
            add_final_layer_norm=True,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            forced_eos_token_id=2,
            notice=NOTICE,
        )
    )
    model.generation_config = GenerationConfig(
        bos_token_id=1,
        decoder_start_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=2,
        pad_token_id=0,
        num_beams=10,
        min_length=MIN_LENGTH,
        max_length=MAX_LENGTH,
        length_penalty=0.65,
        no_repeat_ngram_size=BANNED_NGRAM,
        encoder_no_repeat_ngram_size=BANNED_NGRAM,
    )
    with torch.no_grad():
        for stack in (model.model.encoder, model.model.decoder):
            stack.embed_positions.weight.copy_(POSITION_SCALE * _sinusoids(MAX_POSITIONS, config.d_model))
            for name, weight in stack.named_parameters():
                if name.endswith(("out_proj.weight", "fc2.weight")):
                    weight.mul_(1 / math.sqrt(2 * len(stack.layers)))
        for layer in model.model.encoder.layers[:-1]:
            layer.self_attn.out_proj.weight.zero_()
            layer.fc2.weight.zero_()
        copying = model.model.decoder.layers[-1].encoder_attn
        for projection, scale in ((copying.v_proj, 1.0), (copying.out_proj, COPY_SCALE)):
            projection.weight.normal_(std=NOISE_SCALE * config.d_model**-0.5).add_(scale * torch.eye(config.d_model))
        for ids in kinds:
            shared = torch.randn(config.d_model)
            kind = model.model.shared.weight[ids]
            model.model.shared.weight[ids] = KIND_SHARE * (kind + shared / shared.norm())
    return model


@torch.no_grad()
def lend_meanings(model: BlenderbotForConditionalGeneration, tokens: Sequence[int], meanings: torch.Tensor) -> None:
    """Words begin with embeddings that are alike as far as the teacher finds the words alike.

    Args:
        model: an untrained model.
        tokens: the words' ids.
        meanings: the teacher's vectors of these words, [words, width]; their main directions are kept.
    """
    apart = meanings - meanings.mean(0)
    directions = torch.linalg.svd(apart, full_matrices=False).Vh[: model.config.d_model]
    shorter = apart @ directions.T
    rows = torch.zeros(len(shorter), model.config.d_model)
    rows[:, : len(directions)] = torch.nn.functional.normalize(shorter, dim=1)
    model.model.shared.weight[list(tokens)] = rows


def save_checkpoint(
    model: BlenderbotForConditionalGeneration, tokenizer: BlenderbotTokenizerFast, folder: Path
) -> None:
    """Writes config, tokenizer and float16 weights; `folder` holds either the old files or all the new ones."""
    fresh, old = folder.with_suffix(".new"), folder.with_suffix(".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    half = type(model)(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(fresh)
    model.generation_config.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_model(folder: Path) -> Any:
    """The model in `folder`: an ONNX export where there is one, else a PyTorch checkpoint (in float32)."""
    if any(folder.glob("*.onnx")):
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        return ORTModelForSeq2SeqLM.from_pretrained(folder)
    return BlenderbotForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def _sinusoids(positions: int, width: int) -> torch.Tensor:
    """Sines and cosines of falling frequency, [positions, width] float32 (Vaswani et al. 2017)."""
    angles = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1000.0) / width))
    return torch.cat([angles.sin(), angles.cos()], dim=1)
