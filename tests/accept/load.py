"""Throughput on the 400M shape, replies of fixed length: many clients beside one, and beside the rivals."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.accept import folders
from tests.accept.outcome import RESULTS, Line


def check() -> list[Line]:
    beams = _run("load-beam10", "--clients", "1", "4", "--beams", "10", "--rounds", "3", "--seconds", "25")
    four, beside = beams[4]
    lines = [
        _line("4 clients at beam 10 give 1.3 times the tokens of one", four["ours"]["versus_one_client"], 1.3),
        _line("and 2.5 times stock Optimum int8 served in turn", beside["stock-dynamic-int8"], 2.5),
        _line("and 7 times the tutorial's app", beside["tutorial"], 7.0),
    ]
    greedy = _run(
        "load-greedy", "--servers", "ours", "--clients", "1", "8", "--beams", "1", "--rounds", "3", "--seconds", "15"
    )
    eight, _ = greedy[8]
    return [*lines, _line("8 greedy clients give 3 times the tokens of one", eight["ours"]["versus_one_client"], 3.0)]


def _run(name: str, *arguments: str) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """By number of clients: the figures of each server, and how many times as fast ours is as each other."""
    output = RESULTS / f"{name}.json"
    command = [sys.executable, "-m", "benchmarks", "load", "--checkpoint", str(folders.synthetic_checkpoint())]
    command += ["--exported", str(folders.synthetic("int8")), *arguments, "--output", str(output)]
    subprocess.run(command, check=True)
    found = {}
    for result in json.loads(output.read_text(encoding="utf-8"))["results"]:
        servers = {server["label"]: server for server in result["servers"]}
        ratios = {ratio["second"]: ratio for ratio in result["ratios"] if ratio["first"] == "ours"}
        found[result["load"]["clients"]] = (servers, ratios)
    return found


def _line(promise: str, ratio: dict[str, Any], least: float) -> Line:
    spread = ratio["replies_per_s"]
    figure = f"{spread['median']:.2f} ({spread['least']:.2f} to {spread['greatest']:.2f})"
    return Line(promise, figure, spread["median"] >= least)
