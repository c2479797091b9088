from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from benchmarks.errors import InputError
from benchmarks.prompts import prompts
from models.demo.config import CHECKPOINT


@pytest.mark.parametrize("tokens", [3, 28])
def test_prompts_have_the_length_asked_for_the_tokenizer(tiny_checkpoint: Path, tokens: int) -> None:
    for folder in (tiny_checkpoint, CHECKPOINT):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        texts = prompts(folder, tokens, count=20)
        assert {len(tokenizer(text).input_ids) for text in texts} == {tokens}
        assert all(text == text.strip() and text for text in texts)
        assert texts == prompts(folder, tokens, count=20)
        assert texts != prompts(folder, tokens, count=20, seed=1)


def test_prompts_that_cannot_be_made_are_refused(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.prompts.WORDS", "extraordinary")
    with pytest.raises(InputError, match="No message of 3 tokens can be made for the tokenizer of "):
        prompts(tiny_checkpoint, 3, count=2)
