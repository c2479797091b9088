"""What a checkpoint of any size takes: its export, and one reply at a time by the engine, with all memory counted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from benchmarks import child
from benchmarks.errors import BenchmarkError

NEW_TOKENS = 60
SOURCE_TOKENS = 28
REPLIES = 2
SAMPLE_S = 0.05


@dataclass(frozen=True)
class ShapeCost:
    """One checkpoint at one precision.

    Attributes:
        precision: of the weights.
        export_s: seconds of the export, start of the process and checksums included, comparison with torch left out.
        export_peak_bytes: largest resident memory of its processes together.
        size_bytes: of the folder.
        load_s: seconds from the files, read before, to a model in memory.
        resident_bytes: largest resident memory of a process that has loaded it and written the replies.
        greedy_s, beam10_s: the fastest reply of `NEW_TOKENS` tokens.
    """

    precision: str
    export_s: float
    export_peak_bytes: int
    size_bytes: int
    load_s: float
    resident_bytes: int
    greedy_s: float
    beam10_s: float


def measure(checkpoint: Path, precision: str) -> ShapeCost:
    """Export a checkpoint into a temporary folder beside it and write replies with what came out.

    Raises:
        BenchmarkError: one of both failed, and has said why.
    """
    with TemporaryDirectory(dir=checkpoint.parent) as scratch:
        folder = Path(scratch) / "exported"
        command: list[str | Path] = ["-m", "export", "--model", checkpoint, "--output-dir", folder, "--no-verify"]
        started = time.perf_counter()
        _, export_peak = _run([*command, "--quantization", precision])
        export_s = time.perf_counter() - started
        size = sum(path.stat().st_size for path in folder.iterdir())
        said, resident = _run(["-m", "benchmarks.shapes", folder])
    return ShapeCost(precision, export_s, export_peak, size, resident_bytes=resident, **json.loads(said))


def reply_times(folder: Path) -> dict[str, float]:
    """Load an exported folder and write replies of fixed length to a random source."""
    from service.engine.chat_model import load
    from service.engine.sequence import Sequence as Reply

    started = time.perf_counter()
    model = load(folder)
    times = {"load_s": time.perf_counter() - started}
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    source = np.random.default_rng(0).integers(4, vocabulary, SOURCE_TOKENS)
    for name, beams in (("greedy_s", 1), ("beam10_s", 10)):
        settings = model.settings.override({"num_beams": beams, "min_length": NEW_TOKENS, "max_length": NEW_TOKENS})
        times[name] = float("inf")
        for _ in range(REPLIES):
            batch = model.batch()
            started = time.perf_counter()
            batch.add(Reply(source, settings))
            while len(batch):
                batch.step()
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def _run(arguments: Sequence[str | Path]) -> tuple[str, int]:
    """Run Python to its end: what it printed last, and the largest resident memory of it and its children together."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=child.PROJECT,
        env=child.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.returncode is None:
            try:
                parent = psutil.Process(process.pid)
                peak = max(peak, sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))))
            except psutil.Error:
                pass
            time.sleep(SAMPLE_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    said = child.last_line(output)
    if process.returncode != 0:
        raise BenchmarkError(f"{' '.join(map(str, arguments[:2]))} failed: {said}")
    return said, peak


if __name__ == "__main__":
    print(json.dumps(reply_times(Path(sys.argv[1]))))
