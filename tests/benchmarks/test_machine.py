from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.machine import Limits, StepWeights

LIMITS = Limits(2, 1e9, {"fp32": 1e9, "bf16": 2e9, "int8": 4e9})


def test_weights_of_a_step_are_those_of_the_decoder_and_the_projection(tiny_checkpoint: Path) -> None:
    weights = StepWeights.of(tiny_checkpoint)
    assert weights == StepWeights(3 * (6 * 128 * 128 + 2 * 128 * 256), 300 * 128)


@pytest.mark.parametrize(
    ("precision", "rows", "floor_ms"),
    [("fp32", 1, 4.4), ("bf16", 1, 2.2), ("int8", 1, 1.1), ("int4", 1, 0.6), ("int8", 10, 5.5), ("fp32", 10, 22.0)],
)
def test_floor_is_reading_or_computing_whichever_takes_longer(precision: str, rows: int, floor_ms: float) -> None:
    assert StepWeights(1_000_000, 100_000).floor_ms(precision, rows, LIMITS) == pytest.approx(floor_ms)


def test_limits_of_this_machine_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "ARRAY_BYTES", 2**22)
    monkeypatch.setattr(machine, "ATTEMPTS", 1)
    monkeypatch.setattr(machine, "PRODUCTS", ((8, 64, 64),))
    machine.main(["1"])
    found = Limits(**json.loads(capsys.readouterr().out))
    assert 1e7 < found.read_bytes_per_s < 1e13
    assert found.operations_per_s.keys() == {"int8", "fp32", "bf16"}
    assert all(1e5 < rate < 1e15 for rate in found.operations_per_s.values())
