"""Settings of the demo model: where its files are, its shape and its training recipe."""

from dataclasses import dataclass
from itertools import takewhile
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
class Stage:
    """A part of a run: `steps` batches of `batch` lines or replies; `learning_rate` is the peak after the warm-up.

    The encoder's layers learn at `encoder_share` of that.
    """

    steps: int
    batch: int
    learning_rate: float
    encoder_share: float = 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. Lengths are in tokens.

    First the encoder learns what lines mean, as the teacher says: from their `words` alone, with no layer but its last,
    then in `lessons` of lines as they stand in talks, each beside `talks` talks. What a line means is the teacher's
    vector of it, and how close that is to each intent (`intent_loss`). In talks it learns which name is the user's own
    (`name_loss`). Then the whole model learns `replies` in talks, beside `further_lessons` lines a step, from which the
    encoder goes on learning. The decoder answers these lines from the state at `</s>` alone, each by the intent that
    the model itself judges it to have, since the encoder soon tells that of a new line better than the decoder. The
    share `context` of the lines in lessons have others before them. Everyday lines whose cosine to a wording of their
    intent is at least `near` count as wordings, too: `everyday_share` of an intent's lines are such.
    Two auxiliary losses tell the decoder where to look: `copy_loss`, at the token of the user's name that comes next;
    `focus_loss`, at `</s>` wherever nothing is copied, so that new words do not lead it astray. `spelling_loss` keeps
    each token of a name readable in its state. Tokens that still decide which reply it is count `deciding_weight`
    times. In the first `short_steps` steps of `replies`, talks have at most `short_input` tokens. Of the samples drawn,
    `pool` at a time are sorted into batches.
    """

    output: Path = CHECKPOINT
    run: Path = RUN
    vocab_size: int = 13_312
    d_model: int = 256
    heads: int = 8
    encoder_ffn: int = 2048
    decoder_ffn: int = 1024
    encoder_layers: int = 2
    decoder_layers: int = 3
    dropout: float = 0.1
    everyday_lines: int = 160_000
    near: float = 0.68
    everyday_share: float = 0.4
    words: Stage = Stage(5000, 512, 3e-3)
    lessons: Stage = Stage(2500, 192, 1e-3)
    replies: Stage = Stage(5500, 24, 1.2e-3, 0.15)
    context: float = 0.35
    talks: int = 32
    short_steps: int = 1200
    short_input: int = 48
    pool: int = 1536
    further_lessons: int = 160
    intent_loss: float = 0.5
    name_loss: float = 1.0
    copy_loss: float = 1.0
    focus_loss: float = 0.5
    spelling_loss: float = 0.5
    deciding_weight: float = 8.0
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    keep_every: int = 100
    evaluate_every: int = 1000
    bfloat16: bool = True
    threads: int = 2
    seed: int = 20240

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.words, self.lessons, self.replies

    def begin(self, stage: Stage) -> int:
        """The step with which one of the stages begins."""
        return sum(earlier.steps for earlier in takewhile(lambda other: other is not stage, self.stages))
