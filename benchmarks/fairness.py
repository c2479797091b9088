"""Does a contestant do what was asked? What it says of itself, what it is seen to do, and what comes out of it.

Each check raises a `ContestantError` that says what is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contestants import Contestant
from benchmarks.errors import ContestantError
from benchmarks.schema import Sizes

# Log-probabilities that differ by less are a tie, which two correct programs may resolve differently; in nats.
TIE_NATS = 0.05
# An exact contestant may say something else, of another probability, in one reply out of so many.
REPLIES_PER_SLIP = 5
# Some engines have two pools of threads, torch's and their own, which may both spin; and the clock ticks in hundredths.
POOLS = 2
CPU_SLACK_S = 0.05


def source(description: Mapping[str, Any], length: int, round_number: int) -> list[int]:
    """Source ids of one round: `length - 1` ordinary ids of the vocabulary, drawn uniformly, then `</s>`."""
    special = set(description["special_ids"])
    ordinary = [token for token in range(description["vocab_size"]) if token not in special]
    return [*random.Random(f"0/{round_number}").choices(ordinary, k=length - 1), description["eos_id"]]


def check_description(
    contestant: Contestant, description: Mapping[str, Any], reference: Contestant, expected: Mapping[str, Any]
) -> None:
    """It says that it has the reference's vocabulary and decoding settings."""
    wanted, actual = (
        {**{key: settings[key] for key in ("vocab_size", "special_ids", "eos_id")}, **settings["decoding"]}
        for settings in (expected, description)
    )
    for name in sorted((wanted.keys() | actual.keys()).difference(contestant.lacks)):
        if wanted.get(name) != actual.get(name):
            raise ContestantError(
                f"{contestant.label} ({contestant.folder}) does not do what {reference.label} ({reference.folder}) "
                f"does: {name} is {actual.get(name)} where the reference has {wanted.get(name)}."
            )


def check_observation(contestant: Contestant, observation: Mapping[str, Any], sizes: Sizes) -> None:
    """It was seen to write one reply with the beam width, length, source and threads that were asked for."""
    # The last token may be forced, and then needs no run of the decoder.
    steps = (sizes.new_tokens - 1, sizes.new_tokens)
    facts = (
        ("beams", [observation["rows"]], (sizes.beams,)),
        ("decoder steps", [observation["steps"]], steps),
        ("source tokens", [observation["source_tokens"]], (sizes.source_tokens,)),
        ("threads", observation["threads"], (sizes.threads,)),
    )
    for name, values, allowed in facts:
        wrong = next((value for value in values if value not in allowed), None)
        if wrong is not None:
            text = f"was seen to run with {wrong} {name} where {allowed[-1]} were asked for."
            raise ContestantError(f"{contestant.label} {text}")


def check_reply(
    contestant: Contestant, request: Mapping[str, Any], tokens: list[int], decoding: Mapping[str, Any]
) -> None:
    """A reply has as many tokens as were asked for, and repeats nothing that the settings ban."""
    if len(tokens) != request["new_tokens"]:
        text = f"generated {len(tokens)} tokens where {request['new_tokens']} were asked for."
        raise ContestantError(f"{contestant.label} {text}")
    applied = {name: value for name, value in decoding.items() if name not in contestant.lacks}
    broken = broken_ban(request["ids"], tokens, applied)
    if broken is not None:
        raise ContestantError(f"{contestant.label} does not apply {broken}, which is {decoding[broken]}.")


def broken_ban(ids: list[int], reply: list[int], decoding: Mapping[str, Any]) -> str | None:
    """The n-gram ban of `decoding` that a reply to the source `ids` does not keep; None when it keeps them all.

    The last token of the reply is not looked at, since it may have been forced.
    """
    free = reply[:-1]
    ngrams = _ngrams(free, decoding.get("no_repeat_ngram_size", 0))
    if len(ngrams) != len(set(ngrams)):
        return "no_repeat_ngram_size"
    size = decoding.get("encoder_no_repeat_ngram_size", 0)
    if set(_ngrams(free, size)).intersection(_ngrams(ids, size)):
        return "encoder_no_repeat_ngram_size"
    return None


def _ngrams(ids: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)] if size else []


def check_cpu(contestant: Contestant, seconds: float, cpu_s: float, threads: int) -> None:
    """Its processor time shows no more threads at work than were asked for."""
    if cpu_s > seconds * POOLS * threads + CPU_SLACK_S:
        raise ContestantError(
            f"{contestant.label} used {cpu_s:.2f} processor seconds in {seconds:.2f} s, too many for {threads} threads."
        )


def check_exact(contestant: Contestant, gaps: Sequence[float | None]) -> None:
    """One that computes in fp32 says what the reference says, ties and a slip aside.

    `gaps` are by how many nats the log-probability of each reply differs from that of the reference's reply; None where
    both are the same.
    """
    others = [abs(gap) for gap in gaps if gap is not None and abs(gap) > TIE_NATS]
    if len(others) > len(gaps) // REPLIES_PER_SLIP:
        raise ContestantError(
            f"{contestant.label} computes in fp32, but {len(others)} of {len(gaps)} replies are not the reference's "
            f"(log-probabilities differ by up to {max(others):.2f} nats)."
        )
