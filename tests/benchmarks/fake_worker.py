"""The real worker around an engine that does no work: `python -m tests.benchmarks.fake_worker MODE`.

Replies are the source's ids in reverse, repeated to the length asked. Modes: `honest`; `short` (one token too few);
`dies` (ends in the first generate after the warm-up); `refuses` (raises in every generate); `stranger` (other decoding
settings); `careful` (settings with an encoder ban); `deaf` (settings with a ban, and replies that break it);
`unloadable` (raises in load); `babbles` (answers with something that is no JSON); `other` (another reply than the
honest one, which scores a nat less); `tied` (likewise, with nearly the same score). Wrong settings that no reply shows:
`wide` (one beam more), `hasty` (two steps of the decoder less), `cut` (a source without its first token), `crowded`
(one thread more).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.engines import Observation
from benchmarks.worker import serve

DEATH_CODE = 7
DECODING: dict[str, dict[str, Any]] = {
    "stranger": {"num_beams": 3},
    "careful": {"num_beams": 10, "encoder_no_repeat_ngram_size": 2},
    "deaf": {"num_beams": 10, "no_repeat_ngram_size": 2},
}


# Last tokens of the replies of those that say something else.
SCORES = {"other": 19, "tied": 4}


class FakeEngine:
    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._calls = 0

    def generate(self, ids: list[int], beams: int, new_tokens: int) -> list[int]:
        self._calls += 1
        if self._mode == "refuses":
            raise RuntimeError("the beams are tired\nand so is the stack")
        if self._mode == "dies" and self._calls == 3:
            print("out of luck", file=sys.stderr)
            sys.exit(DEATH_CODE)
        if self._mode == "deaf":
            return [5] * new_tokens
        length = new_tokens - 1 if self._mode == "short" else new_tokens
        reply = (ids[::-1] * length)[:length]
        return [*reply[:-1], SCORES[self._mode]] if self._mode in SCORES else reply

    @contextmanager
    def watch(self) -> Iterator[Observation]:
        observation = Observation()
        generate = self.generate

        def watched(ids: list[int], beams: int, new_tokens: int) -> list[int]:
            observation.rows = beams + (self._mode == "wide")
            observation.steps = new_tokens - 2 * (self._mode == "hasty")
            observation.source_tokens = len(ids) - (self._mode == "cut")
            observation.threads = [1, 1 + (self._mode == "crowded")]
            return generate(ids, beams, new_tokens)

        self.generate = watched  # type: ignore[method-assign]
        yield observation
        del self.generate

    def score(self, ids: list[int], replies: list[list[int]]) -> list[float]:
        return [-1.0 if reply[-1] == SCORES["other"] else -0.001 * reply[-1] for reply in replies]

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

    def load(path: str, threads: int) -> FakeEngine:
        if mode == "unloadable":
            raise OSError("the files are of another time")
        return FakeEngine(mode)

    serve(load, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
