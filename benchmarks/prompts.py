"""What visitors say: plain English words, as many as make a source of the length asked."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from benchmarks.errors import InputError

WORDS = (
    "a about after all and any are as at be because before book bread but by can city come cook day do down evening "
    "every family film find food for friend from game garden get give go good green have he hear help her home how "
    "I if in into is it just kitchen know last learn like little long look make many more morning music my never new "
    "not now of often old on one or our out over paint people play quiet rain read river road run school sea see she "
    "sing sister sleep small so some song still story summer sun tea tell than that the them then there they thing "
    "think this time to today town train travel tree two under up walk warm was water way we week well what when "
    "where which who why will window winter with word work world write year you your"
)
COUNT = 256
ATTEMPTS = 100


def prompts(folder: Path, tokens: int, *, count: int = COUNT, seed: int = 0) -> list[str]:
    """Messages that the tokenizer in `folder` turns into exactly `tokens` ids, `</s>` included.

    Raises:
        InputError: the words cannot be made to fit.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes = {word: len(tokenizer(f" {word}", add_special_tokens=False).input_ids) for word in WORDS.split()}
    generator = random.Random(seed)
    drawn = (_drawn(sizes, tokens - 1, generator) for _ in range(count * ATTEMPTS))
    texts = list(islice((text for text in drawn if len(tokenizer(text).input_ids) == tokens), count))
    if len(texts) < count:
        raise InputError(f"No message of {tokens} tokens can be made for the tokenizer of {folder}.")
    return texts


def _drawn(sizes: dict[str, int], room: int, generator: random.Random) -> str:
    """Words drawn at random until none fits any more."""
    words: list[str] = []
    while fitting := [word for word, size in sizes.items() if size <= room]:
        words.append(generator.choice(fitting))
        room -= sizes[words[-1]]
    return " ".join(words)
