"""One reply at a time on the 400M shape: the stock way to load the export, and the fused engine, against torch."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.accept import folders
from tests.accept.outcome import RESULTS, Line

# Times torch fp32, with 10 beams and greedy.
LEAST = {"stock-int8": {10: 3.5, 1: 5.0}, "ours-int8": {10: 7.0}, "ours-int4": {10: 10.0, 1: 12.0}}


def check() -> list[Line]:
    output = RESULTS / "latency.json"
    exports = [str(folders.synthetic(precision)) for precision in ("int8", "int4")]
    command = [sys.executable, "-m", "benchmarks", "latency", "--checkpoint", str(folders.synthetic_checkpoint())]
    contestants = "torch-fp32,stock-int8,ours-int8,ours-int8,ours-int4"
    command += ["--exported", *exports, "--contestants", contestants, "--rounds", "5", "--output", str(output)]
    subprocess.run(command, check=True)
    lines = []
    for result in json.loads(output.read_text(encoding="utf-8"))["results"]:
        beams = result["beams"]
        for row in result["backends"]:
            least = LEAST.get(row["label"], {}).get(beams)
            if least is not None:
                ratio = row["versus_torch"]
                figure = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['greatest']:.2f})"
                promise = f"{row['label']} at beam {beams}: at least {least:g} times as fast as torch fp32"
                lines.append(Line(promise, figure, ratio["median"] >= least))
    return lines
