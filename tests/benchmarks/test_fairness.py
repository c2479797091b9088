"""Wrong settings that are planted in one contestant do not go unnoticed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import InputError, WorkloadError
from benchmarks.fairness import check_cpu
from benchmarks.latency import measure
from benchmarks.process import BackendProcess, worker_command
from benchmarks.runs import Contestant, LatencyRun
from benchmarks.workload import Workload

WORKLOAD = Workload(beams=(3,), new_tokens=4, source_tokens=6, rounds=2, threads=1)


def contestant(mode: str, *, rival: bool = False, exact: bool = False) -> Contestant:
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    return Contestant(mode, command, Path("models") / mode, name=mode, rival=rival, exact=exact)


def run(*contestants: Contestant) -> LatencyRun:
    return measure(contestants, WORKLOAD, lambda _: None)


FAULTS = {
    "wide": "was seen to run with 4 beams where 3 were asked for",
    "hasty": "was seen to run with 2 decoder steps where 4 were asked for",
    "cut": "was seen to run with 5 source tokens where 6 were asked for",
    "crowded": "was seen to run with 2 threads where 1 were asked for",
    "short": "generated 3 tokens where 4 were asked for",
    "stranger": "does not do what honest (models/honest) does: num_beams is 3 where the reference has 10",
}


def test_rival_with_a_wrong_setting_is_left_out_and_the_others_go_on() -> None:
    result = run(contestant("honest"), *(contestant(mode, rival=True) for mode in FAULTS))
    assert [backend.label for backend in result.results[0].backends] == ["honest"]
    reasons = {missing.name: missing.reason for missing in result.missing}
    assert reasons.keys() == FAULTS.keys()
    for mode, fault in FAULTS.items():
        assert fault in reasons[mode]


@pytest.mark.parametrize("mode", ["wide", "stranger"])
def test_our_own_wrong_setting_stops_the_run(mode: str) -> None:
    with pytest.raises((WorkloadError, InputError)):
        run(contestant("honest"), contestant(mode))


def test_another_reply_is_no_reply_of_one_that_computes_in_fp32() -> None:
    others = [contestant(mode, rival=True, exact=True) for mode in ("other", "tied")]
    result = run(contestant("honest"), *others)
    assert [backend.label for backend in result.results[0].backends] == ["honest", "tied"]
    ((name, reason),) = [(missing.name, missing.reason) for missing in result.missing]
    assert name == "other"
    assert "2 of 2 replies are not the reference's" in reason
    assert "2 of 2" not in str(run(contestant("honest"), replace(others[0], exact=False)).missing)


def test_more_processor_time_than_the_threads_can_use_is_noticed() -> None:
    check_cpu(contestant("honest"), seconds=1.0, cpu_s=4.0, threads=2)
    with pytest.raises(WorkloadError, match=r"honest used 4\.90 processor seconds in 1\.00 s, too many for 2 threads"):
        check_cpu(contestant("honest"), seconds=1.0, cpu_s=4.9, threads=2)


def test_rival_that_dies_in_a_round_is_left_out_with_its_last_words() -> None:
    result = run(contestant("honest"), contestant("dies", rival=True))
    assert [backend.label for backend in result.results[0].backends] == ["honest"]
    assert "its last words: out of luck" in result.missing[0].reason


@pytest.mark.parametrize("backend", ["torch", "stock", "ours"])
def test_real_backends_are_seen_to_do_what_is_asked(backend: str, tiny_checkpoint: Path, tiny_export: Path) -> None:
    folder = tiny_checkpoint if backend == "torch" else tiny_export
    with BackendProcess(backend, worker_command(backend)) as process:
        process.request("load", path=str(folder), threads=1)
        for beams in (1, 3):
            seen = process.request("witness", ids=[5, 6, 7, 2], beams=beams, new_tokens=6)
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
    """A real torch backend with one wrong setting, which it does not admit."""
    program = (
        "from benchmarks import worker\n"
        "from benchmarks.backends import GenerateBackend\n"
        "original = GenerateBackend.generate\n"
        f"{PLANTS.get(name, 'generate = original')}\n"
        "GenerateBackend.generate = generate\n"
        "worker.main()"
    )
    return Contestant(name, (sys.executable, "-c", program, "torch"), checkpoint, name=name, rival=name in PLANTS)


def test_wrong_settings_planted_in_real_backends_are_caught(tiny_checkpoint: Path) -> None:
    result = run(*(planted(name, tiny_checkpoint) for name in ("honest", *PLANTS)))
    assert [backend.label for backend in result.results[0].backends] == ["honest"]
    reasons = {missing.name: missing.reason for missing in result.missing}
    assert "seen to run with 2 beams where 3 were asked for" in reasons["fewer beams"]
    assert "seen to run with 2 threads where 1 were asked for" in reasons["another thread"]
