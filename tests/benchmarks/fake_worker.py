"""The real worker around a backend that does no work: `python -m tests.benchmarks.fake_worker MODE`.

Replies are the source's ids in reverse, repeated to the length asked. Modes: `honest`; `short` (one token too few);
`dies` (ends in the first generate after the warm-up); `refuses` (raises in every generate); `stranger` (other decoding
settings); `careful` (settings with an encoder ban); `deaf` (settings with a ban, and replies that break it);
`unloadable` (raises in load); `babbles` (answers with something that is no JSON).
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.backends import Loaded
from benchmarks.worker import Worker, serve

DEATH_CODE = 7
DECODING: dict[str, dict[str, Any]] = {
    "stranger": {"num_beams": 3},
    "careful": {"num_beams": 10, "encoder_no_repeat_ngram_size": 2},
    "deaf": {"num_beams": 10, "no_repeat_ngram_size": 2},
}


class FakeBackend:
    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._calls = 0

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        self._calls += 1
        if self._mode == "refuses":
            raise RuntimeError("the beams are tired\nand so is the stack")
        if self._mode == "dies" and self._calls == 2:
            print("out of luck", file=sys.stderr)
            sys.exit(DEATH_CODE)
        if self._mode == "deaf":
            return [5] * new_tokens
        length = new_tokens - 1 if self._mode == "short" else new_tokens
        return (ids[::-1] * length)[:length]

    def describe(self) -> dict[str, Any]:
        return {
            "decoding": DECODING.get(self._mode, {"num_beams": 10}),
            "vocab_size": 20,
            "special_ids": [0, 1, 2, 3, 20],
            "eos_id": 2,
            "engine": {"speed": "none"},
        }


def main() -> None:
    mode = sys.argv[1]
    if mode == "babbles":
        print("hello", flush=True)

    def load(path: str, threads: int) -> Loaded:
        if mode == "unloadable":
            raise OSError("the files are of another time")
        return Loaded(FakeBackend(mode), 0.25, 0.5)

    serve(Worker(load), sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
