"""The demo model in 60 held-out three-turn dialogues, judged by its written rubric."""

from __future__ import annotations

from models.demo.config import CHECKPOINT
from models.demo.evaluate import evaluate
from tests.accept.outcome import RESULTS, Line

SHARE = 0.70


def check() -> list[Line]:
    figures = evaluate(CHECKPOINT, RESULTS / "transcripts.txt")
    count, recalled, topic = figures["dialogues"], figures["name_recalled"], figures["on_topic"]
    by_turn = ", ".join(f"{share:.0%}" for share in figures["on_topic_by_turn"])
    return [
        Line(f"the name is recalled in {SHARE:.0%} of {count} dialogues", f"{recalled:.0%}", recalled >= SHARE),
        Line(f"{SHARE:.0%} of the replies are on topic", f"{topic:.0%} (by turn {by_turn})", topic >= SHARE),
    ]
