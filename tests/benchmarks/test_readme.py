"""The README's figures are those of the committed result."""

from __future__ import annotations

import json

from benchmarks.readme import README, RESULT, SECTION, table


def test_the_readme_shows_the_committed_result() -> None:
    found = SECTION.search(README.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group() == table(json.loads(RESULT.read_text(encoding="utf-8")))
