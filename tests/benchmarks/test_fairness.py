"""Wrong settings that are planted in one contestant do not go unnoticed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.contestants import Contestant, worker_command
from benchmarks.errors import ContestantError
from benchmarks.fairness import broken_ban, check_cpu, source
from benchmarks.process import WorkerProcess
from tests.benchmarks.races import contestant, raced

VOCABULARY = {"vocab_size": 20, "special_ids": [0, 1, 2, 3, 20], "eos_id": 2}


FAULTS = {
    "wide": "was seen to run with 4 beams where 3 were asked for",
    "hasty": "was seen to run with 2 decoder steps where 4 were asked for",
    "cut": "was seen to run with 5 source tokens where 6 were asked for",
    "crowded": "was seen to run with 2 threads where 1 were asked for",
    "short": "generated 3 tokens where 4 were asked for",
    "stranger": "does not do what honest (models/honest) does: num_beams is 3 where the reference has 10",
}


def test_rival_with_a_wrong_setting_is_left_out_and_the_others_go_on() -> None:
    result = raced(contestant("honest"), *(contestant(mode, rival=True) for mode in FAULTS))
    assert result.labels == ["honest"]
    assert result.missing.keys() == FAULTS.keys()
    for mode, fault in FAULTS.items():
        assert fault in result.missing[mode]


@pytest.mark.parametrize("mode", ["wide", "stranger"])
def test_our_own_wrong_setting_stops_the_run(mode: str) -> None:
    with pytest.raises(ContestantError):
        raced(contestant("honest"), contestant(mode))


def test_another_reply_is_no_reply_of_one_that_computes_in_fp32() -> None:
    others = [contestant(mode, rival=True, exact=True) for mode in ("other", "tied")]
    result = raced(contestant("honest", exact=True), *others)
    assert result.labels == ["honest", "tied"]
    assert result.missing.keys() == {"other-fp32"}
    assert "2 of 2 replies are not the reference's" in result.missing["other-fp32"]
    assert not raced(contestant("honest", exact=True), contestant("other", rival=True)).missing


def test_more_processor_time_than_the_threads_can_use_is_noticed() -> None:
    check_cpu(contestant("honest"), seconds=1.0, cpu_s=4.0, threads=2)
    with pytest.raises(ContestantError, match=r"used 4\.90 processor seconds in 1\.00 s, too many for 2 threads"):
        check_cpu(contestant("honest"), seconds=1.0, cpu_s=4.9, threads=2)


def test_rival_that_dies_in_a_round_is_left_out_with_its_last_words() -> None:
    result = raced(contestant("honest"), contestant("dies", rival=True))
    assert result.labels == ["honest"]
    assert "its last line: out of luck" in result.missing["dies"]


@pytest.mark.parametrize("loader", ["torch", "stock", "ours"])
def test_real_engines_are_seen_to_do_what_is_asked(loader: str, tiny_checkpoint: Path, tiny_export: Path) -> None:
    folder = tiny_checkpoint if loader == "torch" else tiny_export
    with WorkerProcess(loader, worker_command(loader)) as process:
        process.request("load", path=str(folder), threads=1)
        for beams in (1, 3):
            seen = process.request("watch", ids=[5, 6, 7, 2], beams=beams, new_tokens=6)
            assert (seen["rows"], seen["source_tokens"]) == (beams, 4)
            assert seen["steps"] in (5, 6)
            assert set(seen["threads"]) == {1}
            assert len(seen["tokens"]) == 6


PLANTS = {
    "fewer beams": "generate = lambda self, ids, beams, new_tokens: original(self, ids, beams - 1, new_tokens)",
    "another thread": (
        "def generate(self, **request):\n"
        "    import torch\n"
        "    torch.set_num_threads(2)\n"
        "    return original(self, **request)"
    ),
}


def planted(name: str, checkpoint: Path) -> Contestant:
    """A real torch engine with one wrong setting, which it does not admit."""
    program = (
        "from benchmarks import worker\n"
        "from benchmarks.engines import GenerateEngine\n"
        "original = GenerateEngine.generate\n"
        f"{PLANTS.get(name, 'generate = original')}\n"
        "GenerateEngine.generate = generate\n"
        "worker.main()"
    )
    command = (sys.executable, "-c", program, "torch")
    return Contestant(name, name, rival=name in PLANTS, label=name, command=command, folder=checkpoint)


def test_wrong_settings_planted_in_real_engines_are_caught(tiny_checkpoint: Path) -> None:
    result = raced(*(planted(name, tiny_checkpoint) for name in ("honest", *PLANTS)))
    assert result.labels == ["honest"]
    assert "seen to run with 2 beams where 3 were asked for" in result.missing["fewer beams"]
    assert "seen to run with 2 threads where 1 were asked for" in result.missing["another thread"]


def test_sources_have_the_length_asked_end_once_and_differ_between_rounds() -> None:
    sources = [source(VOCABULARY, 6, number) for number in range(-1, 20)]
    for ids in sources:
        assert len(ids) == 6
        assert ids[-1] == 2
        assert not {0, 1, 2, 3, 20}.intersection(ids[:-1])
    assert len({tuple(ids) for ids in sources}) == len(sources)
    assert sources == [source(VOCABULARY, 6, number) for number in range(-1, 20)]


@pytest.mark.parametrize(
    ("reply", "decoding", "broken"),
    [
        ([7, 8, 9, 7, 8, 2], {"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ([7, 8, 9, 7, 8, 2], {"no_repeat_ngram_size": 3}, None),
        ([7, 8, 9, 7, 8], {"no_repeat_ngram_size": 2}, None),
        ([9, 4, 5, 9, 2], {"encoder_no_repeat_ngram_size": 2}, "encoder_no_repeat_ngram_size"),
        ([9, 4, 5, 9, 2], {"encoder_no_repeat_ngram_size": 3}, None),
        ([7, 7, 7, 7, 7], {}, None),
    ],
)
def test_bans_are_checked_in_the_reply(reply: list[int], decoding: dict[str, int], broken: str | None) -> None:
    assert broken_ban([4, 5, 6, 2], reply, decoding) == broken
