"""A Blenderbot checkpoint with random weights: the true shape, for speed and numeric fidelity without the Hub.

`python -m models.synthetic --output-dir DIR` writes one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import BlenderbotConfig, GenerationConfig

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
NEVER_GENERATED = (0, 1, 3)
BANNED_BIAS = -100.0
MIN_VOCABULARY = 256 + len(SPECIAL_TOKENS)
TITLE = "# Synthetic Blenderbot checkpoint"
NOTICE = """
Random weights (seed {seed}): speed and numeric fidelity only. What it says means nothing, and no figure measured on it
says anything about the quality of replies.
"""

EMBEDDING_STD = 0.012
POSITION_STD = 0.3
ATTENTION_GAIN = 1.0
FEED_FORWARD_GAIN = 2.0
FINAL_NORM_GAIN = 6.0
BIAS_STD = 0.02
NORM_STD = 0.1

Progress = Callable[[str], None]


class CheckpointError(Exception):
    """The folder exists, or cannot be written; the message is one sentence for the user."""


@dataclass(frozen=True)
class Shape:
    """The size of a Blenderbot model; the defaults are those of facebook/blenderbot-400M-distill.

    Attributes:
        vocab_size: rows of the embedding, at least `MIN_VOCABULARY`; `<mask>` comes one past them.
        d_model: width of the hidden state.
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder.
        heads: attention heads, in the encoder as in the decoder.
        ffn: width of the feed-forward layers.
        positions: longest source and longest target, in tokens.
    """

    vocab_size: int = 8008
    d_model: int = 1280
    encoder_layers: int = 2
    decoder_layers: int = 12
    heads: int = 32
    ffn: int = 5120
    positions: int = 128


BLENDERBOT_400M = Shape()
# The shapes of facebook/blenderbot-400M-distill, -1B-distill and -3B.
SHAPES = {
    "400m": BLENDERBOT_400M,
    "1b": Shape(d_model=2560, ffn=10240),
    "3b": Shape(d_model=2560, ffn=10240, decoder_layers=24),
}
SHARD_BYTES = 2_000_000_000


def write_checkpoint(
    output_dir: Path,
    *,
    seed: int = 0,
    force: bool = False,
    shape: Shape = BLENDERBOT_400M,
    progress: Progress = lambda line: None,
) -> None:
    """Write a checkpoint that `AutoTokenizer` and `BlenderbotForConditionalGeneration` load with `from_pretrained`.

    The folder appears whole or not at all: it is written beside `output_dir` and then renamed.

    Args:
        output_dir: folder to make; its parents are made as well.
        seed: the same seed and shape give the same files.
        force: replace a checkpoint that is already there.
        shape: size of the model.
        progress: called with one line of text at each stage.

    Raises:
        CheckpointError: `output_dir` exists (without `force`), is not a checkpoint (with it), or cannot be written.
    """
    output_dir = output_dir.expanduser()
    _check_output(output_dir, force)
    try:
        output_dir.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}-") as scratch:
            folder = Path(scratch) / "checkpoint"
            folder.mkdir()
            progress("configuration and tokenizer")
            config = model_config(shape)
            config.to_json_file(folder / "config.json", use_diff=True)
            _generation_config().to_json_file(folder / "generation_config.json", use_diff=True)
            _write_tokenizer(folder, shape, seed)
            _write_weights(folder, config, seed, progress)
            (folder / "README.md").write_text(f"{TITLE}\n{NOTICE.format(seed=seed)}", encoding="utf-8")
            if output_dir.exists():
                output_dir.rename(Path(scratch) / "replaced")
            folder.rename(output_dir)
    except OSError as error:
        raise CheckpointError(f"{output_dir} cannot be written ({error.strerror or error}).") from error


def is_synthetic(checkpoint: Path) -> bool:
    """Whether `write_checkpoint` made the folder, by its README."""
    readme = checkpoint / "README.md"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(TITLE)


def _check_output(output_dir: Path, force: bool) -> None:
    if not output_dir.exists():
        return
    if not output_dir.is_dir():
        raise CheckpointError(f"{output_dir} is a file; --output-dir takes a folder.")
    if not any(output_dir.iterdir()):
        return
    if not force:
        raise CheckpointError(f"{output_dir} exists already; pass --force to replace it.")
    if not (output_dir / "config.json").is_file():
        raise CheckpointError(f"{output_dir} exists and holds no checkpoint, so --force does not replace it.")


def model_config(shape: Shape) -> BlenderbotConfig:
    """The configuration of facebook/blenderbot-400M-distill with the sizes of `shape`."""
    from transformers import BlenderbotConfig

    return BlenderbotConfig(
        architectures=["BlenderbotForConditionalGeneration"],
        dtype="float16",
        vocab_size=shape.vocab_size,
        d_model=shape.d_model,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.ffn,
        decoder_ffn_dim=shape.ffn,
        max_position_embeddings=shape.positions,
        activation_function="gelu",
        scale_embedding=True,
        normalize_before=True,
        add_final_layer_norm=True,
        normalize_embedding=False,
        static_position_embeddings=False,
        extra_pos_embeddings=0,
    )


def _generation_config() -> GenerationConfig:
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=1,
        decoder_start_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=2,
        pad_token_id=0,
        num_beams=10,
        min_length=20,
        max_length=60,
        length_penalty=0.65,
        no_repeat_ngram_size=3,
        encoder_no_repeat_ngram_size=3,
    )


def _write_tokenizer(folder: Path, shape: Shape, seed: int) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import BlenderbotTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocab_size - len(SPECIAL_TOKENS),
        special_tokens=[],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pseudo_text(shape.vocab_size, seed), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    if len(learnt["vocab"]) != shape.vocab_size - len(SPECIAL_TOKENS):
        raise ValueError(
            f"{len(learnt['vocab']) + len(SPECIAL_TOKENS)} entries where {shape.vocab_size} were asked for"
        )
    tokens = [*SPECIAL_TOKENS, *sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer.model = models.BPE(vocab=vocabulary, merges=[(first, second) for first, second in learnt["merges"]])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0 </s>:0", special_tokens=[("</s>", 2)])
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in SPECIAL_TOKENS]
        + [AddedToken("<mask>", lstrip=True, normalized=False)]
    )
    fast = BlenderbotTokenizerFast(
        tokenizer_object=tokenizer, add_prefix_space=True, model_max_length=shape.positions, padding_side="right"
    )
    fast.save_pretrained(folder)


def _pseudo_text(vocab_size: int, seed: int) -> list[str]:
    """Sentences of made-up words with the frequencies of natural language, enough of them to fill the vocabulary."""
    import numpy as np

    rng = np.random.default_rng([seed, 1])
    syllables = [
        first + vowel + last for first in "bcdfghjklmnprstvwz" for vowel in "aeiouy" for last in ("", "n", "r", "s")
    ]
    words = ["".join(rng.choice(syllables, size=int(length))) for length in rng.integers(1, 5, size=2 * vocab_size)]
    weights = 1.0 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), size=20 * vocab_size, p=weights / weights.sum())
    # Every word twice over, so that pairs never run out before the vocabulary is full.
    order = [*range(len(words)), *range(len(words)), *drawn.tolist()]
    return [" ".join(words[index] for index in order[start : start + 12]) for start in range(0, len(order), 12)]


def _write_weights(folder: Path, config: BlenderbotConfig, seed: int, progress: Progress) -> None:
    """Write one file, or several with an index where one would have more than `SHARD_BYTES`."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformers import BlenderbotForConditionalGeneration

    with torch.device("meta"):
        model = BlenderbotForConditionalGeneration(config)
    tied = {"lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}
    total = sum(math.prod(size) for size in shapes.values())
    shards: list[dict[str, int]] = [{}]
    for index, name in enumerate(shapes):
        if shards[-1] and 2 * sum(math.prod(shapes[part]) for part in (*shards[-1], name)) > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = index
    places: dict[str, str] = {}
    done = reported = 0
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors: dict[str, NDArray[np.float16]] = {}
        for name, index in shard.items():
            tensors[name] = _weight(name, shapes[name], np.random.default_rng([seed, 2, index]))
            places[name] = file
            done += math.prod(shapes[name])
            percent = 100 * done // total
            if percent >= reported + 10 or done == total:
                reported = percent
                progress(f"weights: {done / 1e6:.0f} of {total / 1e6:.0f} million ({percent} %)")
        progress(f"writing {sum(tensor.nbytes for tensor in tensors.values()) / 1e6:.0f} MB")
        save_file(tensors, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
    if len(shards) > 1:
        index_file = {"metadata": {"total_size": 2 * total}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index_file, indent=2), encoding="utf-8")


def _weight(name: str, size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float16]:
    """One tensor, scaled so that replies vary, depend on the source, and the best logits stand apart.

    The input embedding is small beside what the layers add (else, being tied, it makes the model repeat its last
    token). The rows of fc2 have no mean, because GELU outputs have one, which would add the same vector at every
    position. The gain of the decoder's last norm spreads the logits to a standard deviation near 2.6.
    """
    import numpy as np

    values = rng.standard_normal(size, dtype=np.float32)
    if name == "final_logits_bias":
        values *= BIAS_STD
        values[:, list(NEVER_GENERATED)] = BANNED_BIAS
    elif name == "model.shared.weight":
        values *= EMBEDDING_STD
    elif name.endswith("embed_positions.weight"):
        values *= POSITION_STD
    elif name.endswith("layer_norm.weight"):
        values = 1.0 + NORM_STD * values
        if name == "model.decoder.layer_norm.weight":
            values *= FINAL_NORM_GAIN
    elif name.endswith(".bias"):
        values *= BIAS_STD
    elif name.endswith("fc2.weight"):
        values -= values.mean(axis=-1, keepdims=True)
        values *= FEED_FORWARD_GAIN / math.sqrt(size[-1])
    else:
        gain = FEED_FORWARD_GAIN if name.endswith("fc1.weight") else ATTENTION_GAIN
        values *= gain / math.sqrt(size[-1])
    return values.astype(np.float16)


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit code is 2 for wrong arguments, 1 for a folder that cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m models.synthetic", description="Write a checkpoint of random weights."
    )
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--shape", choices=[*SHAPES], default="400m", help="of which model (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a checkpoint that is there already")
    options = parser.parse_args(arguments)
    try:
        write_checkpoint(options.output_dir, force=options.force, shape=SHAPES[options.shape], progress=print)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
