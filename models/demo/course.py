"""All that is learnt in a run: read, looked at by the teacher, and made ready to be drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import BlenderbotTokenizerFast

from models.demo.config import DIALOGUES, EVALUATION, NAMES, TrainingConfig
from models.demo.conversations import ConversationSampler, Sample
from models.demo.dialogues import Subject, load_subjects, problems, user_words, without_overlap
from models.demo.everyday import load_everyday, unlike
from models.demo.heldout import load_heldout
from models.demo.lessons import Lessons, Source
from models.demo.meaning import Fitting, Intents, Wording, wordings
from models.demo.names import Names, NameSampler, Pieces, find_pieces, load_names
from models.demo.teacher import Meanings, embed
from models.demo.tokenizer import build_tokenizer
from models.demo.wording import Rewording

HELDOUT_SAMPLES = 320
EXAMPLE_NAMES = 40
SHARES = {"everyday": 0.55, "wordings": 0.3, "words": 0.1, "replies": 0.05}


@dataclass(frozen=True)
class Material:
    """What a run begins with. `meanings` are what the teacher says of the `everyday` lines, in order."""

    subjects: tuple[Subject, ...]
    names: Names
    pieces: Pieces
    everyday: Sequence[str]
    meanings: Meanings
    known: Sequence[Wording]
    intents: Intents
    tokenizer: BlenderbotTokenizerFast

    @classmethod
    def gather(cls, config: TrainingConfig) -> "Material":
        """Reads the dialogues and the everyday lines; what takes long to make is kept in the folder of the run."""
        read = load_subjects(DIALOGUES)
        for problem in problems(read):
            print("note:", problem)
        subjects, names = without_overlap(read), load_names(NAMES)
        pieces = find_pieces(names.train)
        found = load_everyday(config.everyday_lines, config.seed)
        apart = unlike(found, load_heldout(EVALUATION).lines)
        everyday, meanings = [found[i] for i in apart], embed(found, config.run)[apart]
        examples = [name for name in names.train[:400] if pieces.whole(name)][:EXAMPLE_NAMES]
        known = wordings(subjects, examples, config.seed)
        kept = config.run / "tokenizer"
        if kept.exists():
            tokenizer = BlenderbotTokenizerFast.from_pretrained(kept)
        else:
            tokenizer = build_tokenizer(subjects, names, pieces, config.vocab_size, everyday)
            tokenizer.save_pretrained(kept)
        intents = Intents(subjects, known, config.run)
        return cls(subjects, names, pieces, everyday, meanings, known, intents, tokenizer)

    @property
    def name_kinds(self) -> tuple[list[int], list[int]]:
        """Ids of the tokens that begin a name, and of those that end one."""
        vocabulary = self.tokenizer.get_vocab()
        heads = [vocabulary[f"Ġ{head}"] for head in sorted(self.pieces.heads) if f"Ġ{head}" in vocabulary]
        return heads, [vocabulary[tail] for tail in sorted(self.pieces.tails) if tail in vocabulary]

    def word_meanings(self, config: TrainingConfig) -> tuple[dict[int, str], Meanings]:
        """The tokens that are words but no pieces of names, and what the teacher says of each, [words, 384]."""
        pieces = {piece for kind in self.name_kinds for piece in kind}
        tokens = sorted((i, token) for token, i in self.tokenizer.get_vocab().items())
        words = {i: token[1:] for i, token in tokens if token[0] == "Ġ" and token[1:].isalpha() and i not in pieces}
        return words, embed(list(words.values()), config.run)


@dataclass(frozen=True)
class Course:
    """Where lines and replies come from, and what they are checked on.

    `in_replies` [tokens] are those of replies that copy nothing.
    """

    tokenizer: BlenderbotTokenizerFast
    lessons: Lessons
    sampler: ConversationSampler
    intents: Intents
    checks: dict[str, list[Sample]]
    in_replies: Tensor

    @classmethod
    def of(cls, material: Material, config: TrainingConfig, seed: int) -> "Course":
        """The course that draws by `seed`."""
        subjects, tokenizer, intents = material.subjects, material.tokenizer, material.intents
        names = NameSampler(material.names, material.pieces)
        near = intents.near(material.meanings, config.run)
        fitting = Fitting(
            subjects,
            material.everyday,
            material.meanings,
            near,
            intents,
            config.run,
            config.near,
            config.everyday_share,
        )
        print(f"everyday lines that mean what a wording means: {sum(fitting.sizes.values()):,}")
        replies = [line for s in subjects for e in s.exchanges for line in e.reply.train if "{" not in line]

        def source(kind: str, texts: Sequence[str], meanings: Meanings) -> Source:
            return Source(texts, meanings, intents.near(meanings, config.run), SHARES[kind])

        def check(new_replies: bool) -> list[Sample]:
            samples = ConversationSampler(subjects, names, tokenizer, 1, True, new_replies).samples()
            return list(islice(samples, HELDOUT_SAMPLES))

        words, meanings = material.word_meanings(config)
        sources = (
            source("everyday", material.everyday, material.meanings),
            source("wordings", [wording.text for wording in material.known], intents.meanings),
            source("words", list(words.values()), meanings),
            source("replies", replies, embed(replies, config.run)),
        )
        return cls(
            tokenizer,
            Lessons(sources, tokenizer, Rewording(user_words(subjects)), seed),
            ConversationSampler(subjects, names, tokenizer, seed, fitting=fitting),
            intents,
            {"known replies": check(False), "held-out replies": check(True)},
            torch.tensor(
                sorted({i for ids in tokenizer([f" {reply}" for reply in replies])["input_ids"] for i in ids})
            ),
        )
