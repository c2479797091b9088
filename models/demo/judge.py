"""Asks the demo model the held-out prompts and dialogues and counts the verdicts: `python -m models.demo.judge`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm
from transformers import AutoTokenizer

from models.demo.config import CHECKPOINT, EVALUATION
from models.demo.evaluate import talk
from models.demo.heldout import HeldOut, copies, load_heldout
from models.demo.model import load_model
from models.demo.rubric import recalls

UNREAD = "unread"
VERDICTS = ("fits", "misses", "lost", UNREAD)


def ask(folder: Path, heldout: HeldOut) -> dict[str, Any]:
    """The replies of the model in `folder`, none of them judged."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load_model(folder)

    def turns(lines: Sequence[str]) -> list[dict[str, str]]:
        replies = talk(model, tokenizer, lines)
        return [{"user": u, "bot": b, "verdict": UNREAD} for u, b in zip(lines, replies, strict=True)]

    return {
        "prompts": [turns([prompt.text])[0] for prompt in tqdm(heldout.prompts, desc="prompts", unit="prompt")],
        "dialogues": [turns(script.lines) for script in tqdm(heldout.scripts, desc="dialogues", unit="dialogue")],
    }


def keep_verdicts(fresh: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
    """`fresh` with the verdicts of `judged` where the same was said, up to and with the reply."""
    known = {said: turn["verdict"] for said, turn in _turns(judged)}
    for said, turn in _turns(fresh):
        turn["verdict"] = known.get(said, turn["verdict"])
    return fresh


def figures(judged: dict[str, Any], heldout: HeldOut) -> dict[str, Any]:
    """What the rubric counts, as shares where it is a share."""
    on = [
        turn["verdict"] == "fits" or (prompt.beyond and turn["verdict"] == "lost")
        for turn, prompt in zip(judged["prompts"], heldout.prompts, strict=True)
    ]
    second = [turns[1]["verdict"] == "fits" for turns in judged["dialogues"]]
    named = [
        recalls(turns[2]["bot"].lower(), script.name.lower())
        for turns, script in zip(judged["dialogues"], heldout.scripts, strict=True)
        if script.name
    ]
    every = [turn for _, turn in _turns(judged)]
    unknown = [turn["verdict"] for turn in every if turn["verdict"] not in VERDICTS]
    if unknown:
        raise ValueError(f"verdicts are {', '.join(VERDICTS)}, not {unknown[0]}")
    return {
        "prompts": len(on),
        "prompts_on_topic": sum(on) / len(on),
        "prompts_lost": sum(turn["verdict"] == "lost" for turn in judged["prompts"]) / len(on),
        "second_turns_on_topic": sum(second) / len(second),
        "names_remembered": sum(named) / len(named),
        "distinct_replies": len({turn["bot"] for turn in judged["prompts"]}),
        "copies": sum(copies(turn["bot"], turn["user"]) for turn in every),
        "unread": sum(turn["verdict"] == UNREAD for turn in every),
    }


def _turns(judged: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """Every turn, each with all that was said up to it."""
    turns: list[tuple[tuple[str, ...], dict[str, str]]] = [
        ((turn["user"], turn["bot"]), turn) for turn in judged["prompts"]
    ]
    for dialogue in judged["dialogues"]:
        said: tuple[str, ...] = ()
        for turn in dialogue:
            said = (*said, turn["user"], turn["bot"])
            turns.append((said, turn))
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.demo.judge", description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="a checkpoint or an ONNX folder")
    parser.add_argument("--judgements", type=Path, default=EVALUATION / "judgements.yaml", help="replies and verdicts")
    parser.add_argument("--count", action="store_true", help="only count the verdicts that are there")
    arguments = parser.parse_args()
    heldout = load_heldout(EVALUATION)
    path: Path = arguments.judgements
    judged = yaml.safe_load(path.read_text()) if path.exists() else {"prompts": [], "dialogues": []}
    if not arguments.count:
        torch.set_num_threads(1)
        judged = keep_verdicts(ask(arguments.model, heldout), judged)
        fresh = path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(judged, sort_keys=False, allow_unicode=True, width=1000))
        fresh.replace(path)
    print(json.dumps(figures(judged, heldout), indent=2))


if __name__ == "__main__":
    main()
