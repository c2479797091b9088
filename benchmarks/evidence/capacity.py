"""The capacity page: what the measured figures mean for a number of visitors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.evidence.markdown import prose, table
from benchmarks.evidence.results import Results
from benchmarks.output import kind_line

FILE_NAME = "CAPACITY.md"
VISITORS = (10, 1_000, 100_000)
# Seconds from one message of a visitor to the next: the reply, reading it, and typing.
PACE_S = 30.0
# Share of the measured rate that is planned with; above it waiting grows fast.
UTILISATION = 0.6
OURS = "ours"
KEPT_CONVERSATIONS_PER_VISITOR = 10


@dataclass(frozen=True)
class Rate:
    """Replies a second of one replica.

    Attributes:
        decoding: how it decodes.
        clients: at once, with which it was measured.
        replies_per_s: of one replica.
        p50_s: median seconds of a reply then.
        cores: of the replica.
        tokens: of a reply.
        peak_bytes: largest resident memory of the replica.
    """

    decoding: str
    clients: int
    replies_per_s: float
    p50_s: float
    cores: int
    tokens: int
    peak_bytes: int

    def replicas(self, visitors: int) -> int:
        """Replicas that so many visitors need, one of which may be lost."""
        return math.ceil(visitors / PACE_S / (self.replies_per_s * UTILISATION)) + 1


def rates(results: Results) -> list[Rate]:
    """The best rate at each way of decoding that was measured."""
    found = []
    for name in ("load-400m", "load-greedy-400m"):
        if name not in results.parts:
            continue
        settings = results.parts[name]["settings"]
        decoding = "greedy" if settings["beams"] == 1 else f"{settings['beams']} beams"
        measured = {clients: results.served(name, clients).get(OURS) for clients in results.loads(name)}
        clients, best = max(
            ((clients, server) for clients, server in measured.items() if server is not None),
            key=lambda one: float(one[1]["replies_per_s"]["median"]),
        )
        found.append(
            Rate(
                decoding,
                clients,
                best["replies_per_s"]["median"],
                best["latency_s"]["p50"],
                settings["threads"],
                settings["new_tokens"],
                next(one["peak_bytes"] for one in results.parts[name]["servers"] if one["label"] == OURS),
            )
        )
    return found


def capacity_page(results: Results) -> str | None:
    """The page; None where the load or the store was not measured."""
    measured = rates(results)
    stores = results.parts.get("store-redis", {"results": []})["results"]
    if not measured or not stores:
        return None
    store = stores[0]
    sections = [
        _head(results),
        _measured(measured, store),
        _needed(measured, store),
        _assumptions(measured),
    ]
    return "\n".join(line for section in sections for line in section)


def _head(results: Results) -> Iterator[str]:
    yield "# Capacity"
    yield ""
    yield from prose(
        "What a number of visitors needs, worked out from measured figures: `python -m benchmarks report` writes this "
        "page from the JSON files beside it. Nobody has run it at these sizes; measure on your machines before you buy "
        "any."
    )
    for name in ("load-400m", "load-greedy-400m", "store-redis"):
        if name in results.parts:
            yield f"- {name}: {kind_line(results.parts[name]['machine'])}"
    yield ""


def _measured(measured: list[Rate], store: dict[str, float]) -> Iterator[str]:
    yield "## Measured"
    yield ""
    rows = [
        (
            f"replies of {rate.tokens} tokens a second, {rate.decoding}, {rate.clients} at once",
            f"{rate.replies_per_s:.2f} a replica of {rate.cores} cores",
            f"{rate.replies_per_s / rate.cores:.2f} a core",
        )
        for rate in measured
    ]
    rows += [
        (f"median seconds of a reply, {rate.decoding}, {rate.clients} at once", f"{rate.p50_s:.1f}", "")
        for rate in measured
    ]
    rows += [
        (f"memory of a replica, {rate.decoding}, {rate.clients} at once", f"{rate.peak_bytes / 1e6:,.0f} MB", "")
        for rate in measured
    ]
    rows += [
        ("Redis commands a reply", f"{store['commands_per_reply']:.0f}", ""),
        ("bytes to and from Redis a reply", f"{store['bytes_per_reply']:,.0f}", ""),
        ("appends a second that one Redis took, each on the disk", f"{store['appends_per_s']:,.0f}", ""),
        ("memory of a conversation of 10 exchanges in Redis", f"{store['conversation_bytes']:,.0f} bytes", ""),
    ]
    yield from table(("", "", ""), rows)


def _needed(measured: list[Rate], store: dict[str, float]) -> Iterator[str]:
    yield "## Needed"
    yield ""
    rows: list[tuple[str, ...]] = [
        ("messages a second", *(f"{count / PACE_S:,.1f}" for count in VISITORS)),
    ]
    for rate in measured:
        replicas = [rate.replicas(count) for count in VISITORS]
        rows += [
            (f"**cores, {rate.decoding}**", *(f"**{count * rate.cores:,}**" for count in replicas)),
            (f"replicas, {rate.decoding}", *(f"{count:,}" for count in replicas)),
            (f"their memory, {rate.decoding}", *(f"{count * rate.peak_bytes / 1e9:,.1f} GB" for count in replicas)),
        ]
    kept = [count * KEPT_CONVERSATIONS_PER_VISITOR * store["conversation_bytes"] for count in VISITORS]
    rows += [
        ("Redis commands a second", *(f"{count / PACE_S * store['commands_per_reply']:,.0f}" for count in VISITORS)),
        ("share of what one Redis appends", *(f"{count / PACE_S / store['appends_per_s']:.1%}" for count in VISITORS)),
        (
            "conversations kept (`--conversations`)",
            *(f"{count * KEPT_CONVERSATIONS_PER_VISITOR:,}" for count in VISITORS),
        ),
        ("memory of Redis", *(f"{size / 1e9:,.2f} GB" for size in kept)),
    ]
    yield from table(("visitors at once", *(f"{count:,}" for count in VISITORS)), rows)


def _assumptions(measured: list[Rate]) -> Iterator[str]:
    yield "## Assumptions"
    yield ""
    yield from prose(
        f"Replicas = visitors / {PACE_S:g} s / (replies a second of a replica x {UTILISATION:g}), rounded up, and one "
        "more that may be lost; the rest follows."
    )
    yield (
        f"- A visitor sends a message every {PACE_S:g} seconds, reply, reading and typing together. Half the pace, "
        "half the cores."
    )
    yield (
        f"- {UTILISATION:.0%} of the measured rate is planned with, so that waiting stays short when many come at once."
    )
    yield (
        f"- Replies have {measured[0].tokens} tokens. Those of the 400M model are often half as long, and cost little "
        "more than half."
    )
    yield "- Cores are like the measured one, and replicas do not share them; more machines are as fast as one each."
    yield (f"- {KEPT_CONVERSATIONS_PER_VISITOR} conversations are kept for each visitor who is there.")
    yield (
        "- Appends were made by one process on the machine of Redis, so they are what one Redis takes at least. Above "
        "half of it, divide the conversations among several by session id; the service does not do that."
    )
    yield "- Proxies, TLS and the network are not in it; a proxy of one core passes on far more than these messages."
    yield ""
