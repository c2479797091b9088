"""Which tokens of a reply still decide which reply it is."""

from collections.abc import Iterable, Sequence


class Deciding:
    """Finds where known replies that begin alike go on differently."""

    def __init__(self, replies: Iterable[Sequence[int]]) -> None:
        self._next: dict[tuple[int, ...], set[int]] = {}
        for reply in replies:
            for place, token in enumerate(reply):
                self._next.setdefault(tuple(reply[:place]), set()).add(token)

    def marks(self, reply: Sequence[int]) -> tuple[bool, ...]:
        """Which tokens of `reply` stand where the known replies that begin like it go on in different ways."""
        return tuple(len(self._next.get(tuple(reply[:place]), ())) > 1 for place in range(len(reply)))
