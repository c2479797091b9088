"""The demo model's tokenizer: Blenderbot's, with a vocabulary learnt from the training dialogues and names."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isqrt

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import BlenderbotTokenizerFast

from models.demo.bpe import SPACE, Pair, apply_merge, byte_alphabet, head_merges, learn_merges
from models.demo.config import MAX_POSITIONS
from models.demo.dialogues import Subject
from models.demo.names import Names, Pieces

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
SEPARATOR = "  "
EVERYDAY_WORDS = 9


def build_tokenizer(
    subjects: Iterable[Subject], names: Names, pieces: Pieces, size: int, everyday: Iterable[str] = ()
) -> BlenderbotTokenizerFast:
    """A tokenizer of at most `size` tokens, in which a name made of known pieces is one or two tokens.

    The other tokens come from the words of the dialogues, then from those that are frequent in `everyday` lines.
    """
    first = [(SPACE, SPACE), *head_merges(pieces)]
    tails = Counter({tuple(tail): 1 for tail in sorted(pieces.tails)})
    first += learn_merges(tails, size)
    spoken = _training_words(subjects) + _frequent(everyday)
    room = size - len(_vocabulary(first))
    cut = Counter[tuple[str, ...]]()
    for word, count in sorted(spoken.items()):
        cut[tuple(_apply(word, first))] += count
    whole = {SPACE + name for name in names.train if name not in pieces.heads}
    return _wrap(first + learn_merges(cut, room, banned=whole))


def share_of_tokens(tokenizer: BlenderbotTokenizerFast, words: Iterable[str]) -> dict[int, float]:
    """The share of `words` that are 1, 2 and 3 or more tokens."""
    sizes = Counter(min(3, len(tokenizer(word, add_special_tokens=False)["input_ids"])) for word in words)
    return {size: sizes[size] / sizes.total() for size in (1, 2, 3)}


def history_text(turns: Iterable[str]) -> str:
    """Turns as the model reads them: each begins with a space, two spaces stand between."""
    return SEPARATOR.join(" " + turn.strip() for turn in turns)


def encode_history(tokenizer: BlenderbotTokenizerFast, turns: Sequence[str]) -> tuple[list[int], list[str]]:
    """Ids of the last turns that fit, at most 128 with `</s>`, and those turns.

    Whole oldest turns are dropped; a single turn that is too long is cut from the left.
    """
    kept = list(turns)
    while True:
        ids: list[int] = tokenizer(history_text(kept), verbose=False)["input_ids"]
        if len(ids) <= MAX_POSITIONS or len(kept) == 1:
            return ids[-MAX_POSITIONS:], kept
        kept = kept[1:]


def _training_words(subjects: Iterable[Subject]) -> Counter[str]:
    words: Counter[str] = Counter()
    cutter = ByteLevel(add_prefix_space=True)
    for subject in subjects:
        lines = [line for e in subject.exchanges for line in (*e.user.train, *e.reply.train)]
        values = [value for slot in subject.slots.values() for value in slot.train]
        plain = [re.sub(r"{\w+}", "", line) for line in lines]
        for line in (*plain, *(line.lower() for line in plain), *values):
            words.update(piece for piece, _ in cutter.pre_tokenize_str(line))
    return words


def _frequent(lines: Iterable[str]) -> Counter[str]:
    """The words of `lines` that stand there often, in lower case, each counted as the square root of how often."""
    cutter = ByteLevel(add_prefix_space=True)
    found: Counter[str] = Counter()
    for line in lines:
        found.update(piece for piece, _ in cutter.pre_tokenize_str(line.lower()))
    return Counter({word: isqrt(count) for word, count in found.items() if count >= EVERYDAY_WORDS})


def _apply(word: str, merges: Iterable[Pair]) -> list[str]:
    symbols: list[str] = list(word)
    for pair in merges:
        if len(symbols) == 1:
            break
        if pair[0] in symbols and pair[1] in symbols:
            symbols = apply_merge(symbols, pair)
    return symbols


def _vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    tokens = dict.fromkeys((*SPECIAL, *byte_alphabet(), *("".join(pair) for pair in merges)))
    return {token: index for index, token in enumerate(tokens)}


def _wrap(merges: list[Pair]) -> BlenderbotTokenizerFast:
    backend = Tokenizer(BPE(vocab=_vocabulary(merges), merges=merges, fuse_unk=False))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=True)
    backend.decoder = ByteLevelDecoder()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    backend.post_processor = TemplateProcessing(single="$A:0 </s>:0", special_tokens=[("</s>", SPECIAL.index("</s>"))])
    return BlenderbotTokenizerFast(
        tokenizer_object=backend,
        add_prefix_space=True,
        model_max_length=MAX_POSITIONS,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=AddedToken("<mask>", lstrip=True, normalized=False, special=True),
    )
