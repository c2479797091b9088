"""The report of a results folder: one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.evidence.capacity import FILE_NAME as CAPACITY
from benchmarks.evidence.capacity import capacity_page
from benchmarks.evidence.markdown import picture, prose, table
from benchmarks.evidence.results import LATENCY, Ratio, Results
from benchmarks.evidence.targets import targets
from benchmarks.output import kind_line
from benchmarks.summary import MOST_NOISE
from benchmarks.titles import SERVERS, TITLES

FILE_NAME = "REPORT.md"
COMMANDS = {
    "latency-400m": "latency --rivals",
    "latency-variants-400m": "latency --rivals",
    "load-400m": "load",
    "load-greedy-400m": "load --beams 1",
    "start-400m": "start",
    "export-400m": "export-cost",
    "quality-demo": "quality",
    "scaling-400m": "scaling",
    "store-redis": "store",
}
WEIGHTS = (
    "The weights are random ones in the shape of `facebook/blenderbot-400M-distill` wherever speed and memory are "
    "measured; quality is measured on the demo model's held-out dialogues."
)
BEST = (
    "x is how many times as fast, or as many replies a second, at the best of all rounds of both: what else a machine "
    "does can only make either worse."
)
ALTERNATIVES = {
    "latency": "milliseconds a token of each way to run the model, with the floor of the machine",
    "throughput": "replies a second and median latency by number of clients",
    "distribution": "share of replies that had come after so many seconds",
    "quality": "agreement with fp32 against speed",
    "scaling": "seconds a reply by beams, lengths and threads",
}


def page(results: Results, pictures: Sequence[str]) -> str:
    """The page, with the pictures that are there."""
    sections = [
        _head(results),
        _targets(results),
        _latency(results, pictures),
        _load(results, pictures),
        _capacity(results),
        _start(results),
        _export(results),
        _quality(results, pictures),
        _scaling(results, pictures),
        _missing(results),
    ]
    return "\n".join(line for section in sections for line in section)


def decoding(beams: int) -> str:
    """The head of a table of replies of a beam width."""
    return "**greedy**" if beams == 1 else f"**{beams} beams**"


def _head(results: Results) -> Iterator[str]:
    yield "# Measurements"
    yield ""
    yield from prose(
        f"Made by `make bench` or `make bench-all`; the raw values are in the JSON files beside this page. {WEIGHTS}"
    )
    if results.parts:
        measured = ", ".join(f"{name} ({part['date'][:10]})" for name, part in results.parts.items())
        yield f"- {kind_line(results.machine)}: {measured}"
    versions = next(iter(results.parts.values()))["versions"] if results.parts else {}
    yield "- " + ", ".join(f"{name} {version}" for name, version in versions.items())
    yield ""


def _targets(results: Results) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield from table(
        ("promise", "target", "measured", "verdict"),
        [(one.promise, one.asked, one.figure, one.verdict) for one in targets(results)],
    )
    yield from prose(f"{BEST} In brackets the least and the greatest within one round.")


def _latency(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    parts = [results.parts[name] for name in LATENCY if name in results.parts]
    if not parts:
        return
    yield "## One reply at a time"
    yield ""
    yield from _picture("latency", pictures)
    yield from _latency_tables(results, parts)
    yield from _latency_notes(parts)
    lacking = {one["label"]: one for part in parts for one in part["contestants"]}
    for name, one in lacking.items():
        if one["settings_lacking"] or one["other_model"]:
            without = f" without {', '.join(one['settings_lacking'])}" if one["settings_lacking"] else ""
            model = f" It runs another model: {one['other_model']}." if one["other_model"] else ""
            yield from prose(f"(*) {TITLES.get(name, name).replace(' (*)', '')} runs{without}.{model}")
    yield from _fairness(parts)


def _latency_tables(results: Results, parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    missing = {one["name"] for part in parts for one in part["missing"]}
    columns = (
        "best s",
        "median s",
        "p90 s",
        "ms a token",
        "times the floor",
        "times torch",
        "ours beside it",
        "peak MB",
        "same",
    )
    for beams in dict.fromkeys(result["beams"] for part in parts for result in part["results"]):
        rows = results.latency(beams)
        yield from table(
            (decoding(beams), *columns),
            [
                _latency_row(title, rows[name], results, beams)
                if name in rows
                else (title, "missing, see below", *["-"] * (len(columns) - 1))
                for name, title in TITLES.items()
                if name in rows or name in missing
            ],
        )
        for number, pair in enumerate(results.a_a(beams), 1):
            yield _noise(pair, "A/A pair, ours beside itself" + (f", run {number}" if len(parts) > 1 else ""))
            yield ""


def _latency_notes(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    settings = parts[0]["settings"]
    measured = [part["limits"] for part in parts if "limits" in part]
    limits = [
        (f"run {number}: " if len(measured) > 1 else "")
        + f"{one['read_bytes_per_s'] / 1e9:.1f} GB/s and, in thousand million operations a second, "
        + ", ".join(f"{rate / 1e9:,.0f} ({kind})" for kind, rate in one["operations_per_s"].items())
        for number, one in enumerate(measured, 1)
    ]
    yield from prose(
        f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated (checked), "
        f"{settings['threads']} threads, {' and '.join(str(part['settings']['rounds']) for part in parts)} rounds"
        + (
            f", in {len(parts)} runs, each with torch fp32 and an A/A pair; ratios are of runs that both took part in. "
            if len(parts) > 1
            else ". "
        )
        + (f"For the floor were measured: {'; '.join(limits)}." if limits else "")
    )


def _fairness(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from prose(
        "*same*: replies equal to torch's, token for token. With random weights a rounding error soon leads elsewhere, "
        "so only those that compute in fp32 must agree, ties aside."
    )
    yield from prose(
        "The floor: a step reads the decoder's weights once, or multiplies them with every row, whichever takes "
        "longer. What the machine reads and multiplies is measured in the same run: the best of summing and searching "
        "a 512 MiB array on all threads or one, and the best of large products, by onnxruntime and for bf16 by torch. "
        "Keys, values, scales and the encoder are left out of it."
    )
    yield from prose(
        "Every contestant got the same ids, beams, bans, lengths and threads, one warm-up reply and one that was "
        "watched: the rows and steps of its decoder, the length of its source and the threads of the live model had to "
        "be what was asked. The length, the bans and the processor time of each reply were checked. Not in the times: "
        f"{parts[0]['settings']['excluded']}."
    )


def _latency_row(title: str, row: Mapping[str, Any], results: Results, beams: int) -> tuple[str, ...]:
    floors, same, name = row.get("times_floor"), row["agreement_with_torch"], row["label"]
    return (
        title,
        f"{row['best_s']:.3f}",
        f"{row['median_s']:.3f}",
        f"{row['p90_s']:.3f}",
        f"{row['ms_per_token']:.1f}",
        "-" if floors is None else f"{floors:.1f}",
        _ratio(results.times(name, "torch-fp32", beams)),
        _ratio(results.times("ours-int8", name, beams)),
        f"{row['peak_bytes'] / 1e6:,.0f}",
        "-" if same is None else f"{same['equal']} of {same['replies']}",
    )


def _load(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    parts = [name for name in ("load-400m", "load-greedy-400m") if name in results.parts]
    if not parts:
        return
    yield "## Many clients"
    yield ""
    yield from _picture("throughput", pictures)
    yield from _picture("distribution", pictures)
    for name in parts:
        settings = results.parts[name]["settings"]
        yield f"### {'Greedy' if settings['beams'] == 1 else str(settings['beams']) + ' beams'}"
        yield ""
        rows = []
        for clients, result in results.loads(name).items():
            for server in result["servers"]:
                times = server["latency_s"] or dict.fromkeys(("p50", "p90", "p99"), float("nan"))
                rows.append(
                    (
                        str(clients),
                        _server(server["label"]),
                        f"{server['replies_per_s']['median']:.2f}",
                        f"{server['tokens_per_s']['median']:.0f}",
                        *(f"{times[share]:.2f}" for share in ("p50", "p90", "p99")),
                        str(sum(server["errors"].values())),
                    )
                )
        yield from table(("clients", "", "replies/s", "tokens/s", "p50 s", "p90 s", "p99 s", "errors"), rows)
        for clients, result in results.loads(name).items():
            yield _noise(result.get("a_a"), f"A/A pair with {clients} client" + "s" * (clients > 1))
        yield ""
    yield from prose(
        "Closed loop over HTTP on the loopback address; replies of fixed length, computed and checked; errors are in "
        "no other figure."
    )


def _capacity(results: Results) -> Iterator[str]:
    if capacity_page(results) is not None:
        yield from prose(f"What this means for a number of visitors is worked out in [{CAPACITY}]({CAPACITY}).")


def _server(label: str) -> str:
    name = label.removesuffix(" (again)")
    return SERVERS.get(name, name) + ", again" * (name != label)


def _start(results: Results) -> Iterator[str]:
    rows = results.rows("start-400m")
    if not rows:
        return
    yield "## Memory and start of the servers"
    yield ""
    yield from table(
        ("", "ready s", "first reply s", "later reply s", "MB when ready", "MB at most"),
        [
            (
                _server(label),
                *(f"{row[name]:.2f}" for name in ("ready_s", "first_reply_s", "later_reply_s")),
                *(f"{row[name] / 1e6:,.0f}" for name in ("ready_bytes", "peak_bytes")),
            )
            for label, row in rows.items()
        ],
    )


def _export(results: Results) -> Iterator[str]:
    rows = results.rows("export-400m", "name")
    if not rows:
        return
    yield "## Export"
    yield ""
    yield from table(
        ("", "seconds", "peak GB", "MB on disk"),
        [
            (
                TITLES.get(name, name),
                f"{row['seconds']:.0f}",
                f"{row['peak_bytes'] / 1e9:.1f}",
                f"{row['size_bytes'] / 1e6:,.0f}",
            )
            for name, row in rows.items()
        ],
    )


def _quality(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    rows = results.quality()
    if not rows:
        return
    yield "## Quality"
    yield ""
    yield from _picture("quality", pictures)
    columns = ("", "perplexity ratio", "mean KL", "99 % KL", "same first choice", "same reply", "chrF")
    yield from table(
        columns,
        [
            (
                TITLES.get(f"ours-{name}", TITLES.get(name, name)),
                f"{row['perplexity_ratio']:.4f}",
                f"{row['mean_divergence']:.2e}",
                f"{row['worst_divergence']:.2e}",
                f"{row['top1_agreement']:.2%}",
                *_alike(row),
            )
            for name, row in rows.items()
        ],
    )
    first = next(iter(rows.values()))
    yield from prose(
        f"{first['tokens']:,} tokens of held-out replies of the demo model, teacher-forced, beside torch fp32; KL in "
        "nats. Whole replies at the model's own settings. The plot has the speed of the run that each took part in."
    )


def _alike(row: Mapping[str, Any]) -> tuple[str, str]:
    alike = row.get("whole_replies")
    return (
        ("-", "-") if alike is None else (f"{alike['exact_match']:.1%} of {alike['replies']}", f"{alike['chrf']:.1f}")
    )


def _scaling(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    part = results.parts.get("scaling-400m")
    if part is None:
        return
    yield "## How cost grows"
    yield ""
    yield from _picture("scaling", pictures)
    for axis in ("beams", "source_tokens", "new_tokens", "threads"):
        rows = [row for row in part["replies"] if row["axis"] == axis]
        values = list(dict.fromkeys(row[axis] for row in rows))
        labels = list(dict.fromkeys(row["label"] for row in rows))
        found = {(row["label"], row[axis]): row["median_s"] for row in rows}
        name = {"new_tokens": "generated tokens"}.get(axis, axis.replace("_", " "))
        yield from table(
            (f"seconds a reply by {name}", *map(str, values)),
            [
                (
                    TITLES.get(label, label),
                    *(f"{found[label, value]:.2f}" if (label, value) in found else "-" for value in values),
                )
                for label in labels
            ],
        )


def _missing(results: Results) -> Iterator[str]:
    yield "## What is missing"
    yield ""
    found = results.missing()
    for part, name, reason in found:
        yield f"- {name} ({part}): {reason}."
    absent = [part for part in COMMANDS if part not in results.parts]
    for part in absent:
        yield f"- {part}: not measured; `python -m benchmarks {COMMANDS[part]}`."
    if not found and not absent:
        yield "Nothing: every rival ran to the end and did what was asked."
    yield ""


def _noise(pair: Mapping[str, Any] | None, name: str) -> str:
    if pair is None or "noise" not in pair:
        return f"{name}: not measured."
    attempts = f", after {len(pair['attempts'])} attempts" if len(pair["attempts"]) > 1 else ""
    verdict = f"; **too noisy** (more than {MOST_NOISE:.0%})" if pair["too_noisy"] else ""
    return f"{name}: within {pair['noise']:.1%} of 1 in the middle half of the rounds{attempts}{verdict}."


def _picture(name: str, pictures: Sequence[str]) -> Iterator[str]:
    if name in pictures:
        yield from picture(name, ALTERNATIVES[name])


def _ratio(found: Ratio | None) -> str:
    return "-" if found is None else f"{found.value:.3g} ({found.least:.3g}-{found.greatest:.3g})"
