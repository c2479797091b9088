"""The bans that the decoding settings put on a reply, so that training shows only replies that may be said."""

from collections.abc import Sequence

from models.demo.config import BANNED_NGRAM, MAX_LENGTH, MIN_LENGTH


def ngrams(ids: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(ids[i : i + BANNED_NGRAM]) for i in range(len(ids) - BANNED_NGRAM + 1)]


def may_be_said(encoder_ids: Sequence[int], start: int, reply_ids: Sequence[int]) -> bool:
    """Whether generation with the model's settings could produce this reply to this input.

    Arguments:
        encoder_ids: the whole encoder input, `</s>` included.
        start: the decoder's start token, which counts in the lengths.
        reply_ids: the reply, `</s>` included.
    """
    spoken = [start, *reply_ids]
    own = ngrams(spoken)
    return (
        MIN_LENGTH < len(spoken) <= MAX_LENGTH
        and len(own) == len(set(own))
        and set(ngrams(encoder_ids)).isdisjoint(own)
    )
