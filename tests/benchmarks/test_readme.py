"""The README's figures are those of the committed results."""

from __future__ import annotations

from benchmarks.readme import README, SECTION, filled


def test_the_readme_shows_the_committed_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert {found["name"] for found in SECTION.finditer(text)} == {"latency", "greedy", "load"}
    assert filled(text) == text


def test_a_figure_changed_by_hand_would_be_found() -> None:
    text = README.read_text(encoding="utf-8")
    found = next(SECTION.finditer(text))
    planted = text[: found.end(1)] + "| made up | 1 |\n" + text[found.start(3) :]
    assert filled(planted) == text
