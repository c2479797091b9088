from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.client import Exchange
from benchmarks.load import LoadRun, LoadWorkload, LoopRuns, Run, Server, ServerRuns
from benchmarks.load_report import LoadReport
from benchmarks.load_summary import Percentiles, figures, ratio
from benchmarks.loops import ClosedLoop, Limit, OpenLoop
from benchmarks.models import Checkpoint
from benchmarks.output import WIDTH
from benchmarks.runs import Missing
from benchmarks.summary import Spread
from tests.benchmarks.test_report import MACHINE, flat

REFUSED = Exchange(1.0, 0.5, status=503, error="HTTP 503", detail="Too many wait")
SERVERS = (
    Server("ours", "ours", "our service", ("/secret/python",), {"package": "1.2"}, stream=True),
    Server("tutorial", "tutorial", "the tutorial's app", ("/secret/python",), {"torch": "1"}, rival=True),
)


def replies(*seconds: float, text: float | None = None) -> tuple[Exchange, ...]:
    """One after the other."""
    starts = [sum(seconds[:index]) for index in range(len(seconds))]
    return tuple(
        Exchange(start, length, None if text is None else text * length, 9, 28, 200)
        for start, length in zip(starts, seconds, strict=True)
    )


def runs(label: str, *rounds: tuple[Exchange, ...]) -> ServerRuns:
    return ServerRuns(label, tuple(Run(number, exchanges) for number, exchanges in enumerate(rounds)))


def together(count: int, seconds: float) -> tuple[Exchange, ...]:
    return tuple(Exchange(0.0, seconds, seconds / 2, 9, 28, 200) for _ in range(count))


ALONE = (
    runs("ours", replies(1.0, 1.0, text=0.5), replies(2.0, 2.0, text=0.5)),
    runs("tutorial", replies(4.0, 4.0), replies(4.0, 4.0)),
)
CROWDED = (
    runs("ours", together(4, 2.0), (*together(3, 4.0), REFUSED)),
    runs("tutorial", replies(*[4.0] * 4), (REFUSED,)),
)
CLOSED = (LoopRuns(ClosedLoop(1), ALONE), LoopRuns(ClosedLoop(4), CROWDED))


def report(*results: LoopRuns) -> LoadReport:
    results = results or CLOSED
    workload = LoadWorkload(
        loops=tuple(result.loop for result in results),
        limit=Limit(seconds=30.0),
        rounds=2,
        beams=10,
        new_tokens=10,
        source_tokens=28,
        threads=2,
        timeout_s=60.0,
    )
    outcome = LoadRun(
        results, SERVERS, (Missing("stock-dynamic-int8", "no such file"),), {"ours": 10**9, "tutorial": 2 * 10**9}
    )
    checkpoint = Checkpoint("model", "owner/model", Path("/secret/checkpoint"), True, 128)
    date, settings = "2020-01-01T00:00:00+00:00", {"num_beams": 10}
    return LoadReport(date, MACHINE, {"torch": "1"}, checkpoint, settings, workload, 9, outcome)


def test_figures_leave_errors_out_and_count_them() -> None:
    found = figures(CROWDED[0])
    assert found.replies == 7
    assert found.replies_per_s == Spread(1.375, 0.75, 2.0)
    assert found.latency_s == Percentiles(2.0, 4.0, 4.0, 4.0)
    assert found.first_text_s == Percentiles(1.0, 2.0, 2.0, 2.0)
    assert found.errors == {"HTTP 503": 1}
    assert found.examples == {"HTTP 503": "Too many wait"}


def test_percentiles_interpolate_over_all_rounds() -> None:
    found = figures(runs("ours", replies(1.0, 3.0), replies(2.0, 5.0, 4.0))).latency_s
    assert found is not None
    assert (found.p50, found.p90, found.p99, found.max) == pytest.approx((3.0, 4.6, 4.96, 5.0))


def test_server_without_a_reply_has_no_latency() -> None:
    found = figures(runs("ours", (REFUSED,), ()))
    assert (found.replies, found.latency_s, found.first_text_s) == (0, None, None)
    assert found.replies_per_s == Spread(0.0, 0.0, 0.0)


def test_ratios_are_taken_within_each_round() -> None:
    assert ratio(*ALONE).replies_per_s == Spread(3.0, 2.0, 4.0)
    assert ratio(*ALONE).latency == Spread(0.375, 0.25, 0.5)
    # Only the first round has replies of both.
    assert ratio(*CROWDED).replies_per_s == Spread(8.0, 8.0, 8.0)
    assert ratio(runs("ours", (REFUSED,)), runs("tutorial", (REFUSED,))).replies_per_s is None


def test_table_shows_the_figures_in_aligned_columns() -> None:
    lines = report().as_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith("4 clients")))
    assert [flat(line) for line in lines[start : start + 3]] == [
        "4 clients replies/s tokens/s p50 s p90 s p99 s max s text p50 text p90 errors",
        "ours 1.375 13.8 2.00 4.00 4.00 4.00 1.00 2.00 1",
        "tutorial 0.125 1.2 4.00 4.00 4.00 4.00 - - 1",
    ]
    assert len({len(line) for line in lines[start : start + 3]}) == 1
    assert [flat(line) for line in lines[start + 4 : start + 8]] == [
        "replies/s median latency",
        "ours : tutorial 8 (8-8) 0.5 (0.5-0.5)",
        "ours : itself with 1 client 1.75 (1.5-2) 2 (2-2)",
        "tutorial : itself with 1 client 1 (1-1) 1 (1-1)",
    ]


def test_text_tells_settings_errors_and_what_is_missing() -> None:
    text = report().as_text()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.isascii()
    told = flat(text)
    assert "10 generated tokens (checked), beam 10, 2 threads, 2 rounds of 30 s a run" in told
    assert "errors: 4 clients: tutorial: 1 x HTTP 503, such as: Too many wait." in told
    assert "ours: our service (package 1.2)." in told
    assert "peak memory of a server's process: ours 1000 MB, tutorial 2000 MB." in told
    assert "missing: stock-dynamic-int8: no such file." in told
    assert "random weights" in told


def test_server_that_ended_and_a_warm_up_that_failed_are_told() -> None:
    run = replace(ALONE[0].runs[0], ended="was ended by signal 9", warm_up_errors={"timeout": 2})
    text = flat(report(LoopRuns(ClosedLoop(1), (ServerRuns("ours", (run,)),))).as_text())
    assert "errors: 1 client: ours: in round 1 the server was ended by signal 9." in text
    assert "errors: 1 client: ours: warm-up of round 1: 2 x timeout." in text


def test_json_holds_raw_values_settings_machine_and_versions() -> None:
    content = json.loads(json.dumps(report().as_json()))
    assert content["machine"] == MACHINE
    assert content["versions"] == {"torch": "1"}
    settings = content["settings"]
    assert settings["loads"] == [{"mode": "closed", "clients": 1}, {"mode": "closed", "clients": 4}]
    assert (settings["seconds"], settings["requests"], settings["counted_tokens"]) == (30.0, None, 9)
    assert settings["decoding"] == {"num_beams": 10}
    assert [server["peak_bytes"] for server in content["servers"]] == [10**9, 2 * 10**9]
    alone, crowded = content["results"]
    assert alone["servers"][0]["versus_one_client"] is None
    assert crowded["servers"][0]["versus_one_client"]["replies_per_s"]["median"] == 1.75
    assert crowded["servers"][0]["tokens_per_s"] == {"median": 13.75, "least": 7.5, "greatest": 20.0}
    assert crowded["ratios"] == [
        {
            "first": "ours",
            "second": "tutorial",
            "replies_per_s": {"median": 8.0, "least": 8.0, "greatest": 8.0},
            "latency": {"median": 0.5, "least": 0.5, "greatest": 0.5},
        }
    ]
    requests = crowded["servers"][1]["runs"][1]["requests"]
    assert requests == [
        {
            "start_s": 1.0,
            "seconds": 0.5,
            "first_text_s": None,
            "tokens": None,
            "prompt_tokens": None,
            "status": 503,
            "error": "HTTP 503",
            "detail": "Too many wait",
        }
    ]
    assert content["missing"] == [{"name": "stock-dynamic-int8", "reason": "no such file"}]
    assert "/secret" not in json.dumps(content)


def test_open_loop_is_not_compared_with_one_client() -> None:
    result = LoopRuns(OpenLoop(0.5, 64), ALONE)
    opened = report(CLOSED[0], result)
    assert "0.5 requests a second" in opened.as_text()
    assert "itself" not in opened.as_text()
    content = opened.as_json()
    assert content["settings"]["loads"][1] == {"mode": "open", "requests_per_s": 0.5, "most_in_flight": 64}
    assert content["results"][1]["servers"][0]["versus_one_client"] is None
