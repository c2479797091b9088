"""Settings of the demo model: where its files are, its shape and its training recipe."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DIALOGUES = FOLDER / "dialogues"
NAMES = FOLDER / "names.yaml"
CHECKPOINT = FOLDER / "checkpoint"
EVALUATION = FOLDER / "evaluation"

MAX_POSITIONS = 128
MIN_LENGTH = 20
MAX_LENGTH = 60
BANNED_NGRAM = 3


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. Lengths are in tokens, `learning_rate` is the peak after the warm-up.

    The first `short_steps` steps see only inputs of at most `short_input` tokens. `intent_loss` weighs an auxiliary
    loss: telling the user's intent from the encoder's state at `</s>`. `copy_loss` weighs another: the last
    cross-attention looks at the piece of a name that the reply says next.
    """

    output: Path = CHECKPOINT
    vocab_size: int = 4096
    d_model: int = 256
    heads: int = 8
    ffn: int = 1024
    encoder_layers: int = 2
    decoder_layers: int = 3
    dropout: float = 0.1
    label_smoothing: float = 0.05
    steps: int = 2800
    short_steps: int = 1000
    short_input: int = 48
    batch: int = 32
    pool: int = 6400
    intent_loss: float = 0.5
    copy_loss: float = 1.0
    learning_rate: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    evaluate_every: int = 400
    bfloat16: bool = True
    threads: int = 2
    seed: int = 20240
