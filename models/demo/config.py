"""Settings of the demo model: where its files are, its shape and its training recipe."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DIALOGUES = FOLDER / "dialogues"
NAMES = FOLDER / "names.yaml"
CHECKPOINT = FOLDER / "checkpoint"
EVALUATION = FOLDER / "evaluation"
RUN = FOLDER / "run"

MAX_POSITIONS = 128
MIN_LENGTH = 20
MAX_LENGTH = 60
BANNED_NGRAM = 3


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. Lengths are in tokens, `learning_rate` is the peak after the warm-up.

    First the encoder alone learns what lines mean, `lesson_steps` batches of `lesson_batch` lines; then the whole model
    learns replies, `steps` batches of `batch`, each with `further_lessons` lines more. What a line means is the vector
    that the teacher gives it, and how close that is to each intent (`meaning_loss`, `intent_loss`). Everyday lines
    whose cosine to a wording is at least `near` count as wordings, too: `everyday_share` of an intent's lines are such.
    In `end_only` of the replies that hold nothing to copy, the decoder sees the encoder's state at `</s>` and no other.
    `copy_loss` weighs an auxiliary loss: the last cross-attention looks at the piece of a name that comes next.
    The first `short_steps` steps see only inputs of at most `short_input` tokens.
    """

    output: Path = CHECKPOINT
    run: Path = RUN
    vocab_size: int = 6144
    d_model: int = 256
    heads: int = 8
    ffn: int = 1024
    encoder_layers: int = 2
    decoder_layers: int = 3
    dropout: float = 0.1
    label_smoothing: float = 0.05
    everyday_lines: int = 160_000
    near: float = 0.72
    everyday_share: float = 0.4
    lesson_steps: int = 1500
    lesson_batch: int = 256
    context: float = 0.2
    steps: int = 6000
    short_steps: int = 3000
    short_input: int = 48
    batch: int = 32
    pool: int = 1600
    further_lessons: int = 32
    end_only: float = 0.5
    meaning_loss: float = 1.0
    intent_loss: float = 0.5
    copy_loss: float = 1.0
    learning_rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    keep_every: int = 25
    evaluate_every: int = 700
    bfloat16: bool = True
    threads: int = 2
    seed: int = 20240
