"""Tokens decide where replies that begin alike go on differently."""

from models.demo.deciding import Deciding


def test_tokens_decide_as_long_as_replies_that_begin_alike_go_on_differently() -> None:
    deciding = Deciding([(1, 2, 3, 4), (1, 2, 5, 4), (6, 7)])

    assert deciding.marks((1, 2, 3, 4)) == (True, False, True, False)
    assert deciding.marks((6, 7)) == (True, False)
    assert deciding.marks((8, 9)) == (True, False)
