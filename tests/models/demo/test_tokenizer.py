"""In the committed vocabulary a name is two tokens at most: three could not be said back within the bans."""

from collections.abc import Callable

import pytest
from transformers import AutoTokenizer

from models.demo.config import CHECKPOINT, NAMES
from models.demo.names import load_names
from models.demo.tokenizer import share_of_tokens

TOKENIZER = AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.mark.parametrize("written", [str, str.lower], ids=["as it is", "in lower case"])
def test_names_never_seen_can_be_said_back(written: Callable[[str], str]) -> None:
    shares = share_of_tokens(TOKENIZER, map(written, load_names(NAMES).heldout))

    assert shares[3] == 0


def test_everyday_words_are_whole() -> None:
    words = ["burger", "dentist", "wrist", "ghost", "toilet", "birthday", "headache", "train", "weekend", "interview"]

    assert share_of_tokens(TOKENIZER, words) == {1: 1.0, 2: 0.0, 3: 0.0}
