"""Messages of users, drawn from the demo model's dialogues."""

from __future__ import annotations

import random


def prompts(count: int, seed: int = 11) -> list[str]:
    """`count` distinct messages, training and held-out wordings mixed; the same for the same seed."""
    from models.demo.config import DIALOGUES, NAMES
    from models.demo.dialogues import load_subjects
    from models.demo.names import load_names

    draw = random.Random(seed)
    names = load_names(NAMES)
    lines: list[str] = []
    for subject in load_subjects(DIALOGUES):
        for exchange in subject.exchanges:
            for line in (*exchange.user.train, *exchange.user.heldout):
                values = {slot: draw.choice([*split.train, *split.heldout]) for slot, split in subject.slots.items()}
                lines.append(line.format_map({**values, "name": draw.choice([*names.train, *names.heldout])}))
    return draw.sample(sorted(set(lines)), count)
