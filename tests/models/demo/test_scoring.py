"""The committed checkpoint knows its replies, and the score tells."""

from itertools import islice

import pytest
import torch
from transformers import AutoTokenizer

from models.demo.config import CHECKPOINT, DIALOGUES, NAMES
from models.demo.conversations import ConversationSampler, Sample
from models.demo.dialogues import load_subjects, with_one_reply
from models.demo.model import load_model
from models.demo.names import NameSampler, find_pieces, load_names
from models.demo.scoring import Score, score

TOKENIZER = AutoTokenizer.from_pretrained(CHECKPOINT)


def _samples(*, new: bool) -> list[Sample]:
    names = load_names(NAMES)
    drawn = NameSampler(names, find_pieces(names.train))
    sampler = ConversationSampler(
        with_one_reply(load_subjects(DIALOGUES)), drawn, TOKENIZER, 5, heldout_users=True, heldout_replies=new
    )
    return list(islice(sampler.samples(), 60))


@pytest.fixture(scope="module")
def scores() -> dict[bool, Score]:
    torch.set_num_threads(2)
    model = load_model(CHECKPOINT)
    return {new: score(model, _samples(new=new), TOKENIZER.pad_token_id, 1) for new in (False, True)}


def test_most_tokens_of_known_replies_come_first_after_wordings_never_seen(scores: dict[bool, Score]) -> None:
    assert scores[False].top1 > 0.8
    assert scores[False].perplexity < 3


def test_replies_never_seen_are_less_likely(scores: dict[bool, Score]) -> None:
    assert scores[True].top1 < scores[False].top1
    assert scores[True].perplexity > 10 * scores[False].perplexity


def test_every_token_of_the_replies_counts() -> None:
    samples = _samples(new=False)[:3]
    model = load_model(CHECKPOINT)

    assert score(model, samples, TOKENIZER.pad_token_id, 1).tokens == sum(len(sample.labels) for sample in samples)
