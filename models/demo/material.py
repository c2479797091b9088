"""What a run begins with: read, looked at by the teacher, and the vocabulary made of it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from transformers import BlenderbotTokenizerFast

from models.demo.config import DIALOGUES, EVALUATION, NAMES, TrainingConfig
from models.demo.dialogues import Subject, load_subjects, problems, without_overlap
from models.demo.everyday import load_everyday, unlike
from models.demo.heldout import load_heldout
from models.demo.meaning import Intents, Wording, wordings
from models.demo.names import Names, Pieces, find_pieces, load_names
from models.demo.teacher import Meanings, embed
from models.demo.tokenizer import build_tokenizer

EXAMPLE_NAMES = 40


@dataclass(frozen=True)
class Material:
    """What a run begins with.

    Attributes:
        subjects: the dialogues, without what is said in training and held out, too.
        names: of users.
        pieces: of these names.
        everyday: lines of everyday chats.
        meanings: what the teacher says of them, [lines, 384].
        known: the training wordings.
        intents: which tell the intents of lines by those.
        tokenizer: with the vocabulary of all of it.
        name_kinds: ids of the tokens that begin a name, and of those that end one.
        words: by id, the other tokens that begin a word.
        word_meanings: what the teacher says of them, [words, 384].
    """

    subjects: tuple[Subject, ...]
    names: Names
    pieces: Pieces
    everyday: Sequence[str]
    meanings: Meanings
    known: Sequence[Wording]
    intents: Intents
    tokenizer: BlenderbotTokenizerFast
    name_kinds: tuple[list[int], list[int]]
    words: dict[int, str]
    word_meanings: Meanings

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
        tokenizer = _tokenizer(subjects, names, pieces, everyday, config)
        kinds = _name_kinds(tokenizer, pieces, known)
        words = _words(tokenizer, {piece for kind in kinds for piece in kind})
        return cls(
            subjects,
            names,
            pieces,
            everyday,
            meanings,
            known,
            Intents(subjects, known, config.run, config.seed),
            tokenizer,
            kinds,
            words,
            embed(list(words.values()), config.run),
        )


def _tokenizer(
    subjects: Sequence[Subject], names: Names, pieces: Pieces, everyday: Sequence[str], config: TrainingConfig
) -> BlenderbotTokenizerFast:
    """The tokenizer that these make; kept in the folder of the run, and read from there again."""
    spoken = [(e.user.train, e.reply.train) for subject in subjects for e in subject.exchanges]
    values = [slot.train for subject in subjects for slot in subject.slots.values()]
    made_of = (config.vocab_size, names.train, sorted(pieces.heads), sorted(pieces.tails), spoken, values, everyday)
    kept = config.run / f"tokenizer-{sha256(repr(made_of).encode()).hexdigest()[:16]}"
    if kept.exists():
        return BlenderbotTokenizerFast.from_pretrained(kept)
    tokenizer = build_tokenizer(subjects, names, pieces, config.vocab_size, everyday)
    fresh = kept.with_suffix(".new")
    tokenizer.save_pretrained(fresh)
    fresh.replace(kept)
    return tokenizer


def _name_kinds(
    tokenizer: BlenderbotTokenizerFast, pieces: Pieces, known: Iterable[Wording]
) -> tuple[list[int], list[int]]:
    """Ids of the tokens that begin a name, in lower case, too, unless that is a word of the wordings, and of those that
    end one."""
    vocabulary = tokenizer.get_vocab()
    ordinary = {word for wording in known for word in wording.text.split()}
    heads = sorted(pieces.heads | {head.lower() for head in pieces.heads if head.lower() not in ordinary})
    begin = [vocabulary[f"Ġ{head}"] for head in heads if f"Ġ{head}" in vocabulary]
    return begin, [vocabulary[tail] for tail in sorted(pieces.tails) if tail in vocabulary]


def _words(tokenizer: BlenderbotTokenizerFast, of_names: Collection[int]) -> dict[int, str]:
    tokens = sorted((i, token) for token, i in tokenizer.get_vocab().items())
    return {i: token[1:] for i, token in tokens if token[0] == "Ġ" and token[1:].isalpha() and i not in of_names}
