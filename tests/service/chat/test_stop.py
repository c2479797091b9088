"""Where a stop string ends a text, whole or as it comes."""

from __future__ import annotations

import pytest

from service.chat.stop import StopStrings


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        ([], "one two", None),
        (["three"], "one two", None),
        (["two"], "one two", "one "),
        (["one"], "one two one", ""),
        (["two", "one"], "zero one two", "zero "),
        (["\n", "."], "one. two\n", "one"),
        (["aab"], "aaab", "a"),
        (["🙂"], "one 🙂 two", "one "),
        # The string that is complete first ends the text, the longest of several that end together.
        (["abc", "b"], "xabc", "xa"),
        (["b", "ab"], "xab", "x"),
    ],
)
def test_the_text_ends_before_the_string_that_is_complete_first(
    stops: list[str], text: str, expected: str | None
) -> None:
    assert StopStrings(stops).cut(text) == expected


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        ([], "one two", "one two"),
        (["three"], "one two", "one two"),
        (["two"], "one tw", "one "),
        (["two"], "one t", "one "),
        (["x", "ne"], "one n", "one "),
        (["aab"], "xaa", "x"),
        (["aab"], "xaaa", "xa"),
        (["one two three"], "one two", ""),
        ([" two", "e two"], "one", "on"),
    ],
)
def test_an_ending_that_may_become_a_stop_string_is_held_back(stops: list[str], text: str, expected: str) -> None:
    assert StopStrings(stops).held_back(text) == expected


def test_what_is_shown_of_a_growing_text_is_what_the_whole_text_gives() -> None:
    text = "a mad dog adds a madam and a damp dam"
    for stops in (["madam"], ["dam", "dog"], ["damp"], ["adds a m", "ds"], ["never"], [" a", "d a"]):
        strings, shown = StopStrings(stops), ""
        for end in range(len(text) + 1):
            cut = strings.cut(text[:end])
            now = strings.held_back(text[:end]) if cut is None else cut
            assert now.startswith(shown)
            shown = now
            if cut is not None:
                break
        whole = strings.cut(text)
        assert text.startswith(shown)
        assert shown == (strings.held_back(text) if whole is None else whole)
