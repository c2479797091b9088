"""The shape of what `generate` takes and gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM

from service import ort_model as engine_model
from service.engine.batch import Batch
from service.engine.sequence import Sequence
from tests.service.engine.comparison import until_end
from tests.service.engine.parity_cases import END, Pair

IDS = torch.tensor([[9, 17, 30, 9, 17, 30, 41, END], [8, 20, END, 0, 0, 0, 0, 0], [77, END, 0, 0, 0, 0, 0, 0]])
MASK = (IDS != 0).long()
SHORT: dict[str, Any] = {"num_beams": 4, "min_length": 0, "max_length": 20}


def test_the_engine_is_the_stock_class_to_who_asks(pair: Pair) -> None:
    assert isinstance(pair.engine, ORTModelForSeq2SeqLM)
    assert pair.engine.config.model_type == "blenderbot"
    assert pair.engine.generation_config.num_beams == 10
    assert pair.engine.device == torch.device("cpu")


@pytest.mark.parametrize("beams", [1, 4])
def test_replies_come_as_one_tensor_start_token_first_and_padded(pairs: list[Pair], beams: int) -> None:
    ragged = 0
    for pair in pairs:
        output = pair.engine.generate(IDS, attention_mask=MASK, **SHORT | {"num_beams": beams})
        assert output.dtype == torch.long
        replies = [until_end(row, END) for row in output.tolist()]
        assert output.shape == (len(IDS), max(map(len, replies)))
        assert (output[:, 0] == 1).all()
        for row, reply in zip(output.tolist(), replies, strict=True):
            assert row == [*reply, *[0] * (output.shape[1] - len(reply))]
        ragged += len({len(reply) for reply in replies}) > 1
    assert ragged


def test_without_a_mask_pad_tokens_are_padding(pair: Pair) -> None:
    masked = pair.engine.generate(IDS, attention_mask=MASK, **SHORT)
    assert torch.equal(pair.engine.generate(IDS, **SHORT), masked)
    with torch.inference_mode():
        expected = pair.reference.generate(IDS, **SHORT)
    assert [until_end(row, END) for row in masked.tolist()] == [until_end(row, END) for row in expected.tolist()]


def test_a_batch_larger_than_the_row_cap_is_decoded_in_parts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_model, "MAX_ROWS", 10)
    rows = []
    step = Batch.step

    def counted(batch: Batch) -> list[Sequence]:
        finished = step(batch)
        rows.append(batch.rows)
        return finished

    monkeypatch.setattr(Batch, "step", counted)
    ids, mask = IDS.repeat(4, 1), MASK.repeat(4, 1)
    together = [until_end(row, END) for row in pair.engine.generate(ids, attention_mask=mask, **SHORT).tolist()]
    assert max(rows) == 8
    alone = [
        pair.engine.generate(ids[None, mask.bool()], **SHORT)[0].tolist() for ids, mask in zip(IDS, MASK, strict=True)
    ]
    assert together == [tuple(reply) for reply in alone] * 4


def test_a_search_wider_than_the_row_cap_still_decodes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_model, "MAX_ROWS", 2)
    capped = pair.engine.generate(IDS, attention_mask=MASK, **SHORT)
    monkeypatch.undo()
    assert torch.equal(capped, pair.engine.generate(IDS, attention_mask=MASK, **SHORT))
