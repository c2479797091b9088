"""All that is learnt in a run, ready to be drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import BlenderbotTokenizerFast

from models.demo.answers import Answers
from models.demo.config import TrainingConfig
from models.demo.conversations import ConversationSampler, Sample
from models.demo.deciding import Deciding
from models.demo.dialogues import user_words
from models.demo.lessons import Lessons, Source
from models.demo.material import Material
from models.demo.meaning import Fitting, Intents, label
from models.demo.names import NameSampler
from models.demo.teacher import Meanings, embed
from models.demo.wording import Rewording

HELDOUT_SAMPLES = 320
SHARES = {"everyday": 0.55, "wordings": 0.3, "words": 0.1, "replies": 0.05}


@dataclass(frozen=True)
class Course:
    """Where lines and replies come from, and what they are checked on.

    `in_replies` [tokens], int64, are the ids of all tokens in replies that copy nothing, in order.
    """

    tokenizer: BlenderbotTokenizerFast
    lessons: Lessons
    sampler: ConversationSampler
    intents: Intents
    answers: Answers
    deciding: Deciding
    checks: dict[str, list[Sample]]
    in_replies: Tensor

    @classmethod
    def of(cls, material: Material, config: TrainingConfig, seed: int) -> "Course":
        """The course that draws by `seed`."""
        subjects, tokenizer, intents = material.subjects, material.tokenizer, material.intents
        names = NameSampler(material.names, material.pieces)
        exchanges = [exchange for subject in subjects for exchange in subject.exchanges]
        said = [(label(e), line) for e in exchanges for line in e.reply.train if "{" not in line]
        replies, spoken = [line for _, line in said], embed([line for _, line in said], config.run)
        owners = [intents[intent] for intent, _ in said]

        def source(kind: str, texts: Sequence[str], meanings: Meanings) -> Source:
            return Source(texts, meanings, intents.near(meanings, config.run), SHARES[kind])

        def check(new_replies: bool) -> list[Sample]:
            samples = ConversationSampler(subjects, names, tokenizer, 1, True, new_replies).samples()
            return list(islice(samples, HELDOUT_SAMPLES))

        everyday = source("everyday", material.everyday, material.meanings)
        sources = (
            everyday,
            source("wordings", [wording.text for wording in material.known], intents.meanings),
            source("words", list(material.words.values()), material.word_meanings),
            source("replies", replies, spoken),
        )
        fitting = Fitting(
            subjects,
            everyday.texts,
            everyday.meanings,
            everyday.near,
            intents,
            config.run,
            config.near,
            config.everyday_share,
        )
        print(f"everyday lines that mean what a wording means: {sum(fitting.sizes.values()):,}")
        encoded = tokenizer([f" {reply}" for reply in replies])["input_ids"]
        deciding = Deciding(encoded)
        return cls(
            tokenizer,
            Lessons(sources, tokenizer, Rewording(user_words(subjects)), seed),
            ConversationSampler(subjects, names, tokenizer, seed, fitting=fitting),
            intents,
            Answers(
                _by_intent(owners, encoded, spoken), deciding, tokenizer.pad_token_id, tokenizer.bos_token_id, seed
            ),
            deciding,
            {"known replies": check(False), "held-out replies": check(True)},
            torch.tensor(sorted({i for ids in encoded for i in ids})),
        )


def _by_intent(
    owners: Sequence[int], replies: Sequence[Sequence[int]], meanings: Meanings
) -> dict[int, tuple[list[Sequence[int]], Tensor]]:
    """The replies of each intent, and what the teacher says of them."""
    places: dict[int, list[int]] = {}
    for place, owner in enumerate(owners):
        places.setdefault(owner, []).append(place)
    vectors = torch.tensor(meanings.astype("float32"))
    return {owner: ([replies[place] for place in own], vectors[own]) for owner, own in places.items()}
