"""Byte-level BPE whose merges keep the two pieces of a name apart."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from models.demo.names import Pieces

Pair = tuple[str, str]
SPACE = "Ġ"


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes, in the order of the bytes (GPT-2's table)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = {byte: 0x100 + i for i, byte in enumerate(b for b in range(256) if b not in set(shown))}
    return [chr(hidden.get(byte, byte)) for byte in range(256)]


def head_merges(pieces: Pieces) -> list[Pair]:
    """Merges that build every head after a space, as it is and in lower case, letter by letter, the shorter first."""
    heads = {written for head in pieces.heads for written in (head, head.lower())}
    letters = sorted({head[0] for head in heads})
    longer = sorted(heads, key=lambda head: (len(head), head))
    return [(SPACE, letter) for letter in letters] + [(SPACE + head[:-1], head[-1]) for head in longer]


def learn_merges(words: Counter[tuple[str, ...]], limit: int, banned: Iterable[str] = ()) -> list[Pair]:
    """The most frequent pairs of `words` (symbols -> count), merged one after another, at most `limit` of them.

    Arguments:
        words: words already cut into symbols, with their counts.
        limit: how many merges to learn at most; fewer when every word is one symbol.
        banned: symbols that no merge may make.
    """
    forbidden = set(banned)
    symbols = [list(word) for word in words]
    counts = list(words.values())
    pairs: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(symbols):
        for pair in pairwise(word):
            pairs[pair] += counts[index]
            places[pair].add(index)
    merges: list[Pair] = []
    while len(merges) < limit:
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] <= 0:
            break
        if "".join(best) in forbidden:
            del pairs[best]
            continue
        merges.append(best)
        for index in places.pop(best):
            word = symbols[index]
            for pair in pairwise(word):
                pairs[pair] -= counts[index]
            symbols[index] = merged = apply_merge(word, best)
            for pair in pairwise(merged):
                if "".join(pair) not in forbidden:
                    pairs[pair] += counts[index]
                    places[pair].add(index)
        del pairs[best]
    return merges


def apply_merge(word: Sequence[str], pair: Pair) -> list[str]:
    """`word` with every occurrence of `pair` joined."""
    merged: list[str] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged
