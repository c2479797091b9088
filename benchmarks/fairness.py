"""Does a contestant do what was asked? What it says of itself, what it is seen to do, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.errors import InputError, WorkloadError
from benchmarks.runs import Contestant
from benchmarks.workload import Workload, broken_ban

# Log-probabilities that differ by less are a tie, which two correct programs may resolve differently; in nats.
TIE_NATS = 0.05
# An exact contestant may say something else, of another probability, in one reply out of so many.
REPLIES_A_SLIP = 5
# Some engines have two pools of threads, torch's and their own, which may both spin; and the clock ticks in hundredths.
POOLS = 2
CPU_SLACK_S = 0.05


def check_description(
    contestant: Contestant, description: Mapping[str, Any], reference: Contestant, wanted: Mapping[str, Any]
) -> None:
    """Compare what a contestant says of itself with what the reference says.

    Raises:
        InputError: it has another vocabulary or other decoding settings.
    """

    def refuse(name: str, theirs: Any, ours: Any) -> None:
        raise InputError(
            f"{contestant.label} ({contestant.path}) does not do what {reference.label} ({reference.path}) does: "
            f"{name} is {theirs} where the reference has {ours}."
        )

    for key in ("vocab_size", "special_ids", "eos_id"):
        if description[key] != wanted[key]:
            refuse(key, description[key], wanted[key])
    ours, theirs = wanted["decoding"], description["decoding"]
    for name in sorted((ours.keys() | theirs.keys()).difference(contestant.lacks)):
        if ours.get(name) != theirs.get(name):
            refuse(name, theirs.get(name), ours.get(name))


def check_witness(contestant: Contestant, seen: Mapping[str, Any], beams: int, workload: Workload) -> None:
    """Compare what a contestant was seen to do during one reply with what was asked.

    Raises:
        WorkloadError: it ran with another beam width, length, source or number of threads.
    """
    # The last token may be forced, and then needs no run of the decoder.
    steps = (workload.new_tokens - 1, workload.new_tokens)
    facts = (
        ("beams", [seen["rows"]], (beams,)),
        ("decoder steps", [seen["steps"]], steps),
        ("source tokens", [seen["source_tokens"]], (workload.source_tokens,)),
        ("threads", seen["threads"], (workload.threads,)),
    )
    for name, found, allowed in facts:
        wrong = next((value for value in found if value not in allowed), None)
        if wrong is not None:
            raise WorkloadError(
                f"{contestant.label} was seen to run with {wrong} {name} where {allowed[-1]} were asked for."
            )


def check_reply(
    contestant: Contestant, ids: list[int], tokens: list[int], decoding: Mapping[str, Any], new_tokens: int
) -> None:
    """Look at one reply.

    Raises:
        WorkloadError: it has another number of tokens than was asked for, or repeats what the settings ban.
    """
    if len(tokens) != new_tokens:
        raise WorkloadError(f"{contestant.label} generated {len(tokens)} tokens where {new_tokens} were asked for.")
    applied = {name: value for name, value in decoding.items() if name not in contestant.lacks}
    broken = broken_ban(ids, tokens, applied)
    if broken is not None:
        raise WorkloadError(f"{contestant.label} does not apply {broken}, which is {decoding[broken]}.")


def check_cpu(contestant: Contestant, seconds: float, cpu_s: float, threads: int) -> None:
    """Compare processor time with wall time.

    Raises:
        WorkloadError: more threads must have been at work than were asked for.
    """
    if cpu_s > seconds * POOLS * threads + CPU_SLACK_S:
        raise WorkloadError(
            f"{contestant.label} used {cpu_s:.2f} processor seconds in {seconds:.2f} s, too many for {threads} threads."
        )


def check_exact(contestant: Contestant, gaps: Sequence[float | None]) -> None:
    """Judge the replies of a contestant that computes in fp32.

    Args:
        contestant: whose replies they are.
        gaps: for each reply, by how many nats its log-probability differs from that of the reference's reply; None
            where both are the same.

    Raises:
        WorkloadError: too many are another reply, and not one as good as the reference's.
    """
    others = [gap for gap in gaps if gap is not None and abs(gap) > TIE_NATS]
    if len(others) > len(gaps) // REPLIES_A_SLIP:
        raise WorkloadError(
            f"{contestant.label} computes in fp32, but {len(others)} of {len(gaps)} replies are not the reference's "
            f"(log-probabilities differ by up to {max(map(abs, others)):.2f} nats)."
        )
