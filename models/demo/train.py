"""Trains the demo model from scratch: `python -m models.demo.train`."""

import argparse
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import BlenderbotForConditionalGeneration, BlenderbotTokenizerFast

from models.demo.batches import IGNORED, bucketed, collate, end_states
from models.demo.config import CHECKPOINT, DIALOGUES, NAMES, TrainingConfig
from models.demo.conversations import ConversationSampler, Sample
from models.demo.dialogues import Subject, load_subjects, problems, without_overlap
from models.demo.model import new_model, save_checkpoint
from models.demo.names import NameSampler, Pieces, find_pieces, load_names
from models.demo.scoring import score
from models.demo.tokenizer import build_tokenizer, share_of_tokens

HELDOUT_SAMPLES = 320


class Counted:
    """Passes samples on and remembers which exchanges went through."""

    def __init__(self, samples: Iterator[Sample]) -> None:
        self._samples = samples
        self.exchanges: set[int] = set()
        self.multi_turn: set[int] = set()

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._samples:
            exchange = hash((sample.user, sample.reply))
            self.exchanges.add(exchange)
            if sample.turns > 1:
                self.multi_turn.add(exchange)
            yield sample


def train(config: TrainingConfig) -> None:
    """Trains as `config` says and writes the checkpoint."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    read = load_subjects(DIALOGUES)
    for problem in problems(read):
        print("note:", problem)
    subjects = without_overlap(read)
    names = load_names(NAMES)
    pieces = find_pieces(names.train)
    tokenizer = build_tokenizer(subjects, names, pieces, config.vocab_size)
    for label, group in (("held-out", names.heldout), ("training", names.train)):
        shares = share_of_tokens(tokenizer, group)
        print(f"{label} names in 1, 2, 3+ tokens:", ", ".join(f"{share:.1%}" for share in shares.values()))

    drawn = NameSampler(names, pieces)
    samples = Counted(ConversationSampler(subjects, drawn, tokenizer, config.seed).samples())
    intents = {f"{e.subject}.{e.intent}": index for index, e in enumerate(e for s in subjects for e in s.exchanges)}
    checks = {
        label: list(islice(ConversationSampler(subjects, drawn, tokenizer, 1, True, new).samples(), HELDOUT_SAMPLES))
        for label, new in (("known replies", False), ("held-out replies", True))
    }
    kinds = name_kinds(tokenizer, pieces)
    model = new_model(config, tokenizer.vocab_size, kinds)
    model.set_attn_implementation("eager")
    of_names = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
    of_names[[*kinds[0], *kinds[1]]] = True
    print(f"{model.num_parameters():,} parameters, {tokenizer.vocab_size:,} tokens, {len(subjects)} subjects")
    _fit(config, model, tokenizer, samples, checks, intents, of_names)
    print(
        f"distinct exchanges trained on: {len(samples.exchanges):,}, of them {len(samples.multi_turn):,} within "
        f"a longer talk; held-out exchanges: {_heldout(subjects):,}"
    )


def _fit(
    config: TrainingConfig,
    model: BlenderbotForConditionalGeneration,
    tokenizer: BlenderbotTokenizerFast,
    samples: Counted,
    checks: dict[str, list[Sample]],
    intents: dict[str, int],
    of_names: torch.Tensor,
) -> None:
    pad, start = tokenizer.pad_token_id, model.config.decoder_start_token_id
    judge = torch.nn.Linear(config.d_model, len(intents))
    weights = [*model.parameters(), *judge.parameters()]
    plain = [p for p in weights if p.dim() < 2]
    matrices = [p for p in weights if p.dim() >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    stream = iter(samples)
    short = (sample for sample in stream if len(sample.input_ids) <= config.short_input)
    batches = chain(
        islice(bucketed(short, config.batch, config.pool, config.seed), config.short_steps),
        bucketed(stream, config.batch, config.pool, config.seed),
    )
    began, tokens, smooth = time.monotonic(), 0, 0.0
    bar = tqdm(range(1, config.steps + 1), desc="training", unit="step", mininterval=5)
    for step in bar:
        drawn = next(batches)
        batch = collate(drawn, pad, start)
        labels = batch.pop("labels")
        tokens += int(batch["attention_mask"].sum()) + int((labels != IGNORED).sum())
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            output = model(**batch, use_cache=False, output_attentions=True)
        asked = labels != IGNORED
        loss = cross_entropy(output.logits[asked].float(), labels[asked], label_smoothing=config.label_smoothing)
        guess = judge(end_states(output.encoder_last_hidden_state, batch["attention_mask"]).float())
        told = cross_entropy(guess, torch.tensor([intents[sample.intent] for sample in drawn]))
        astray = copy_loss(output.cross_attentions[-1], batch["input_ids"], batch["attention_mask"], labels, of_names)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + config.intent_loss * told + config.copy_loss * astray)
        torch.nn.utils.clip_grad_norm_(weights, config.clip)
        optimizer.step()
        schedule.step()
        smooth = 0.98 * smooth + 0.02 * loss.item()
        bar.set_postfix(
            loss=f"{smooth / (1 - 0.98**step):.3f}",
            intent=f"{told.item():.2f}",
            copy=f"{astray.item():.2f}",
            refresh=False,
        )
        if step % config.evaluate_every == 0 or step == config.steps:
            model.eval()
            found = {label: score(model, group, pad, start) for label, group in checks.items()}
            shown = "; ".join(f"{label} {s.perplexity:.2f} (top-1 {s.top1:.1%})" for label, s in found.items())
            speed = tokens / (time.monotonic() - began)
            bar.write(f"step {step}: held-out perplexity of {shown}; {speed:,.0f} tokens/s")
            save_checkpoint(model, tokenizer, config.output)


def copy_loss(
    attention: torch.Tensor,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    labels: torch.Tensor,
    of_names: torch.Tensor,
) -> torch.Tensor:
    """How far the last cross-attention looks away from a piece of a name that it should copy.

    Args:
        attention: [batch, heads, reply length, input length], probabilities.
        input_ids: [batch, input length].
        attention_mask: [batch, input length].
        labels: [batch, reply length].
        of_names: [vocabulary], true for pieces of names.

    Returns:
        Mean negative logarithm (nats) of what each head gives to the places of the label; 0 where there is no name.
    """
    places = (labels[:, :, None] == input_ids[:, None, :]) & attention_mask[:, None, :].bool()
    places &= of_names[labels.clamp(min=0)][:, :, None]
    asked = places.any(-1)
    if not asked.any():
        return attention.new_zeros(())
    share = (attention.float() * places[:, None]).sum(-1).permute(0, 2, 1)[asked]
    return -(share + 1e-4).log().mean()


def name_kinds(tokenizer: BlenderbotTokenizerFast, pieces: Pieces) -> tuple[list[int], list[int]]:
    """Ids of the tokens that begin a name, and of those that end one."""
    vocabulary = tokenizer.get_vocab()
    heads = [vocabulary[f"Ġ{head}"] for head in sorted(pieces.heads) if f"Ġ{head}" in vocabulary]
    return heads, [vocabulary[tail] for tail in sorted(pieces.tails) if tail in vocabulary]


def _rate(step: int, config: TrainingConfig) -> float:
    """The share of the peak learning rate: a linear warm-up, then half a cosine down to 2 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _heldout(subjects: Iterable[Subject]) -> int:
    """How many pairs of a held-out user line and a held-out reply there are."""
    return sum(len(e.user.heldout) * len(e.reply.heldout) for s in subjects for e in s.exchanges)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.demo.train", description=__doc__)
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--batch", type=int, default=TrainingConfig.batch)
    arguments = parser.parse_args()
    config = replace(TrainingConfig(), **vars(arguments))
    train(config)


if __name__ == "__main__":
    main()
