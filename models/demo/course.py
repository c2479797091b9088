"""All that is learnt in a run, ready to be drawn from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from transformers import BlenderbotTokenizerFast

from models.demo.answers import Answers
from models.demo.config import TrainingConfig
from models.demo.conversations import ConversationSampler, Sample
from models.demo.deciding import Deciding
from models.demo.dialogues import Subject, user_words, with_one_reply
from models.demo.lessons import Lessons, Source
from models.demo.material import Material
from models.demo.meaning import Intents, UserLines
from models.demo.names import NameSampler
from models.demo.teacher import Meanings, embed
from models.demo.wording import Rewording

HELDOUT_SAMPLES = 320
SHARES = {"everyday": 0.55, "wordings": 0.3, "words": 0.1, "replies": 0.05}


@dataclass(frozen=True)
class Course:
    """Where lines and replies come from, and what they are checked on."""

    tokenizer: BlenderbotTokenizerFast
    lessons: Lessons
    sampler: ConversationSampler
    intents: Intents
    answers: Answers
    deciding: Deciding
    checks: dict[str, list[Sample]]

    @classmethod
    def of(cls, material: Material, config: TrainingConfig, seed: int) -> "Course":
        """The course that draws by `seed`."""
        subjects, tokenizer, intents = material.subjects, material.tokenizer, material.intents
        names = NameSampler(material.names, material.pieces)
        replies = _replies(subjects)

        def source(kind: str, texts: Sequence[str], meanings: Meanings) -> Source:
            return Source(texts, meanings, intents.guess(meanings, config.run), SHARES[kind])

        everyday = source("everyday", material.everyday, material.meanings)
        sources = (
            everyday,
            source("wordings", [wording.text for wording in material.known], intents.meanings),
            source("words", list(material.words.values()), material.word_meanings),
            source("replies", [line for _, line in replies], embed([line for _, line in replies], config.run)),
        )
        answering = with_one_reply(subjects)
        lines = UserLines(answering, everyday.texts, everyday.guesses, intents, config.near, config.everyday_share)
        spoken = _replies(answering, about_name=False)
        encoded = {intents[intent]: tokenizer(f" {line}")["input_ids"] for intent, line in spoken}
        deciding = Deciding(encoded.values())

        def check(new_replies: bool) -> list[Sample]:
            samples = ConversationSampler(answering, names, tokenizer, 1, True, new_replies).samples()
            return list(islice(samples, HELDOUT_SAMPLES))

        return cls(
            tokenizer,
            Lessons(sources, tokenizer, Rewording(user_words(subjects)), seed),
            ConversationSampler(answering, names, tokenizer, seed, lines=lines),
            intents,
            Answers(encoded, deciding, tokenizer.pad_token_id, tokenizer.bos_token_id),
            deciding,
            {"known replies": check(False), "held-out replies": check(True)},
        )


def _replies(subjects: Iterable[Subject], about_name: bool = True) -> list[tuple[str, str]]:
    """The intent and the text of each training reply that copies nothing; without those that have to do with the user's
    name unless `about_name`."""
    exchanges = [e for subject in subjects for e in subject.exchanges if about_name or not e.about_name]
    return [(e.label, line) for e in exchanges for line in e.reply.train if "{" not in line]
