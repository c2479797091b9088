from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.serving import create_app


class Encoding(NamedTuple):
    input_ids: list[int]


class FakeTokenizer:
    """An id a character, and `</s>`, which is 2."""

    all_special_ids = (0, 1, 2, 3)

    def __call__(self, text: str) -> Encoding:
        return Encoding([*map(ord, text), 2])

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(token) for token in ids if token not in self.all_special_ids)


def test_reply_comes_with_the_counts_of_our_service() -> None:
    asked: list[list[int]] = []

    def generate(ids: list[int]) -> list[int]:
        asked.append(ids)
        return [*map(ord, " well!"), 2]

    client = create_app(FakeTokenizer(), generate).test_client()
    response = client.post("/chatbot", data=b'{"prompt": "hi"}')
    assert response.get_json() == {"reply": "well!", "usage": {"prompt_tokens": 3, "completion_tokens": 6}}
    assert asked == [[104, 105, 2]]
    assert client.get("/readyz").status_code == 200
