from __future__ import annotations

import pytest

from benchmarks.quality import compare


def test_same_replies_are_wholly_alike() -> None:
    fields = compare(["Hello there.", "Yes, I do."], ["Hello there.", "Yes, I do."])
    assert (fields["replies"], fields["exact_match"]) == (2, 1.0)
    assert fields["chrf"] == pytest.approx(100)


def test_other_replies_are_alike_by_their_letters() -> None:
    near = compare(["I like walks by the river."], ["I like a walk by the river."])
    far = compare(["I like walks by the river."], ["Where do you live?"])
    assert near["exact_match"] == far["exact_match"] == 0
    assert 100 > near["chrf"] > 60 > 30 > far["chrf"]
