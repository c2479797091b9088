"""The model with what only its training needs: heads, losses, the optimizer, and all of it kept in a file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    dropout,
    normalize,
    scaled_dot_product_attention,
)
from transformers import BlenderbotForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqModelOutput
from transformers.models.blenderbot.modeling_blenderbot import BlenderbotEncoder

from models.demo.answers import Beginnings
from models.demo.batches import IGNORED
from models.demo.config import Stage, TrainingConfig
from models.demo.lessons import Lesson
from models.demo.teacher import WIDTH

CONTRAST = 20.0
NAME_WEIGHT = 20.0


@dataclass(frozen=True)
class Talk:
    """Replies to learn, and what is known of the talks that they end.

    `batch` is as `collate` makes it; `intents` [talks] is the number of each last line's intent. Bool: `own_names`
    [talks, input length] is true at the user's own name; `names_said` [talks, reply length] where the reply says it,
    `copied` where it says any value that the user gave, `deciding` where its tokens still decide which reply it is.
    """

    batch: dict[str, Tensor]
    intents: Tensor
    own_names: Tensor
    names_said: Tensor
    copied: Tensor
    deciding: Tensor


class Student:
    """Trains a model step by step. The encoder's state at `</s>` tells the meaning and the intent of the last line."""

    def __init__(self, config: TrainingConfig, model: BlenderbotForConditionalGeneration, intents: int) -> None:
        self.model = model
        self.step = 0
        self._config = config
        self._meaning = torch.nn.Linear(config.d_model, WIDTH)
        self._judge = torch.nn.Linear(config.d_model, intents)
        self._naming = torch.nn.Linear(config.d_model, 1)
        encoder = [*model.model.encoder.layers.parameters(), *model.model.encoder.embed_positions.parameters()]
        known = {id(weight) for weight in encoder}
        others = [weight for weight in model.parameters() if id(weight) not in known]
        heads = [*self._meaning.parameters(), *self._judge.parameters(), *self._naming.parameters()]
        self._weights = [*encoder, *others, *heads]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [w for w in weights if (w.dim() > 1) is matrix], "weight_decay": decay, "of_encoder": inside}
                for weights, inside in ((encoder, True), ([*others, *heads], False))
                for matrix, decay in ((True, config.weight_decay), (False, 0.0))
            ],
            betas=(0.9, 0.98),
            fused=True,
        )

    def save(self, path: Path) -> None:
        """Writes all that training goes on from; `path` holds either the old state or all of the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        torch.save({"step": self.step, **{name: part.state_dict() for name, part in self._parts().items()}}, fresh)
        fresh.replace(path)

    def load(self, path: Path) -> None:
        """Goes on from what `save` wrote.

        Raises:
            ValueError: it is the state of another configuration or of other dialogues.
        """
        state = torch.load(path, weights_only=True)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"{path} is of another training run; remove it to begin anew") from error
        self.step = int(state["step"])

    def learn_words(self, lesson: Lesson) -> dict[str, float]:
        """One step of the encoder's last layer and the embeddings. Returns what to show of the losses."""
        self.model.train()
        loss, cosine = self._lesson(lesson, skipped=len(self.model.model.encoder.layers) - 1)
        self._update(loss)
        return {"cosine": cosine}

    def learn_meanings(self, lesson: Lesson, talk: Talk) -> dict[str, float]:
        """One step of the encoder. Returns what to show of the losses."""
        self.model.train()
        loss, cosine = self._lesson(lesson)
        _, told, named = self._read(talk)
        self._update(loss + self._config.intent_loss * told + self._config.name_loss * named)
        return {"cosine": cosine, "intent": told.item(), "name": named.item()}

    def learn_replies(
        self, talk: Talk, lesson: Lesson, answers: Callable[[Tensor], Beginnings], choices: Tensor
    ) -> dict[str, float]:
        """One step of the whole model: replies in talks, and how those to lines begin, which the decoder reads from the
        state at `</s>` alone. The model itself judges which intents these lines have; the surer it is of one, the more
        it counts. Nothing is dropped out, since the decoder has to learn its replies by heart.

        Args:
            talk: what is read whole.
            lesson: the lines, from which the encoder goes on learning what they mean, too.
            answers: tells how the replies begin, once the intents are known, [lines].
            choices: [tokens], all that these beginnings hold.

        Returns:
            What to show of the losses.
        """
        config = self._config
        self.model.eval()
        ends = self._ends(lesson)
        further, cosine = self._taught(ends, lesson)
        answered = self._begin(ends, answers, choices)
        states, told, named = self._read(talk)
        said, astray, aside = self._reply(talk, states)
        misspelt = self._misspelt(states[talk.own_names].float(), talk.batch["input_ids"][talk.own_names])
        read = config.intent_loss * told + config.name_loss * named + config.spelling_loss * misspelt
        looked = config.copy_loss * astray + config.focus_loss * aside
        self._update(answered + said + read + looked + further)
        losses = {"line": answered, "talk": said, "intent": told, "name": named, "spelling": misspelt}
        losses |= {"copy": astray, "focus": aside}
        return {**{name: loss.item() for name, loss in losses.items()}, "cosine": cosine}

    def _begin(self, ends: Tensor, answers: Callable[[Tensor], Beginnings], choices: Tensor) -> Tensor:
        """How wrong the beginnings are that the decoder writes from the states at `</s>` alone."""
        with torch.no_grad():
            sure, judged = self._judge(ends.float()).softmax(1).max(1)
        said = answers(judged)
        asked = said.labels != IGNORED
        written = self._written(ends[said.rows, None], torch.ones(len(said.rows), 1, dtype=torch.int64), said.before)
        wrong = self._wrong(written.last_hidden_state[asked], said.labels[asked], choices)
        shares = sure[said.rows, None].expand(asked.shape)[asked]
        return self._weighted(shares * wrong, said.deciding[asked])

    def _reply(self, talk: Talk, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How wrong the replies are that the decoder writes from the encoder's `states`, and where it looked: how far
        from the names to copy, and from `</s>`."""
        seen, before = talk.batch["attention_mask"], talk.batch["decoder_input_ids"]
        written = self._written(states, seen, before, output_attentions=True)
        asked = talk.batch["labels"] != IGNORED
        wrong = self._wrong(written.last_hidden_state[asked], talk.batch["labels"][asked])
        said = self._weighted(wrong, talk.deciding[asked])
        return said, copy_loss(written.cross_attentions[-1], talk), focus_loss(written.cross_attentions, talk)

    def _written(
        self, states: Tensor, seen: Tensor, before: Tensor, output_attentions: bool = False
    ) -> Seq2SeqModelOutput:
        """What the decoder makes of the encoder's `states` where they are `seen`, after the tokens `before`."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._config.bfloat16):
            written: Seq2SeqModelOutput = self.model.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=seen,
                decoder_input_ids=before,
                use_cache=False,
                output_attentions=output_attentions,
            )
        return written

    def _weighted(self, wrong: Tensor, deciding: Tensor) -> Tensor:
        """The mean over tokens, of which those that are `deciding` count more."""
        counts = torch.where(deciding, self._config.deciding_weight, 1.0)
        return (counts * wrong).sum() / counts.sum()

    def _ends(self, lesson: Lesson, skipped: int = 0) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._config.bfloat16):
            return end_states(self.model.model.encoder, lesson.input_ids, lesson.attention_mask, skipped)

    def _lesson(self, lesson: Lesson, skipped: int = 0) -> tuple[Tensor, float]:
        return self._taught(self._ends(lesson, skipped), lesson)

    def _taught(self, states: Tensor, lesson: Lesson) -> tuple[Tensor, float]:
        """How far the states at `</s>` are from what the teacher says of the lines, and the cosine to that."""
        ends = states.float()
        mine = normalize(self._meaning(ends), dim=1)
        cosine = cosine_similarity(mine, lesson.meanings).mean()
        apart = cross_entropy(CONTRAST * mine @ lesson.meanings.T, torch.arange(len(mine)))
        told = -(lesson.likely * self._judge(ends).log_softmax(1).gather(1, lesson.intents)).sum(1).mean()
        return 2 * (1 - cosine) + 0.5 * apart + self._config.intent_loss * told, cosine.item()

    def _read(self, talk: Talk) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's states of talks, and how wrong their intents and names are."""
        seen = talk.batch["attention_mask"]
        with torch.autocast("cpu", torch.bfloat16, enabled=self._config.bfloat16):
            states = self.model.model.encoder(input_ids=talk.batch["input_ids"], attention_mask=seen).last_hidden_state
        ends = states[torch.arange(len(states)), seen.sum(1) - 1].float()
        told = cross_entropy(self._judge(ends), talk.intents)
        guess = self._naming(states.float())[..., 0][seen.bool()]
        weight = torch.tensor(NAME_WEIGHT)
        named = binary_cross_entropy_with_logits(guess, talk.own_names[seen.bool()].float(), pos_weight=weight)
        return states, told, named

    def _wrong(self, states: Tensor, labels: Tensor, choices: Tensor | None = None) -> Tensor:
        """How wrong the next token is that each of the decoder's states chooses, from `choices` or from all tokens."""
        weight = self.model.model.shared.weight
        if choices is not None:
            labels = torch.full((len(weight),), IGNORED).index_copy(0, choices, torch.arange(len(choices)))[labels]
            weight = weight[choices]
        with torch.autocast("cpu", torch.bfloat16, enabled=self._config.bfloat16):
            logits = states @ weight.T
        return cross_entropy(logits.float(), labels, reduction="none")

    def _misspelt(self, states: Tensor, tokens: Tensor) -> Tensor:
        """How wrong the tokens of names are that the last cross-attention would hand on from their own places."""
        if not len(tokens):
            return states.new_zeros(())
        copying = self.model.model.decoder.layers[-1].encoder_attn
        handed = self.model.model.decoder.layer_norm(copying.out_proj(copying.v_proj(states)))
        return cross_entropy(handed @ self.model.model.shared.weight.T, tokens)

    def _update(self, loss: Tensor) -> None:
        stage, done = at(self.step, self._config)
        now = rate(stage, done, self._config.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = now * (stage.encoder_share if group["of_encoder"] else 1.0)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([p for p in self._weights if p.grad is not None], self._config.clip)
        self._optimizer.step()
        self.step += 1

    def _parts(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
        return {
            "model": self.model,
            "meaning": self._meaning,
            "judge": self._judge,
            "naming": self._naming,
            "optimizer": self._optimizer,
        }


def at(step: int, config: TrainingConfig) -> tuple[Stage, int]:
    """The stage of a step, and how many steps of it are done."""
    for stage in config.stages:
        if step < stage.steps or stage is config.stages[-1]:
            break
        step -= stage.steps
    return stage, step


def rate(stage: Stage, done: int, warmup: int) -> float:
    """The learning rate after `done` steps: a linear warm-up, then half a cosine down to 2 % of the stage's peak."""
    if done < warmup:
        return stage.learning_rate * (done + 1) / warmup
    share = (done - warmup) / max(1, stage.steps - warmup)
    return stage.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def end_states(encoder: BlenderbotEncoder, input_ids: Tensor, attention_mask: Tensor, skipped: int = 0) -> Tensor:
    """The encoder's states at each last token, [batch, width], without computing the last layer anywhere else.

    The first `skipped` layers are left out.
    """
    rows, ends = torch.arange(len(input_ids)), attention_mask.sum(1) - 1
    p, training = encoder.dropout, encoder.training
    states = dropout(encoder.embed_tokens(input_ids) + encoder.embed_positions(input_ids.shape), p, training)
    allowed = attention_mask.bool()[:, None, None]
    barred = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    for layer in encoder.layers[skipped:-1]:
        states = layer(states, barred.expand(-1, -1, input_ids.shape[1], -1), None)[0]
    layer = encoder.layers[-1]
    attention = layer.self_attn
    normed = layer.self_attn_layer_norm(states)

    def heads(projected: Tensor) -> Tensor:
        return projected.view(len(rows), -1, attention.num_heads, attention.head_dim).transpose(1, 2)

    query, key, value = attention.q_proj(normed[rows, ends]), attention.k_proj(normed), attention.v_proj(normed)
    looked = scaled_dot_product_attention(heads(query), heads(key), heads(value), attn_mask=allowed)
    last = states[rows, ends] + dropout(attention.out_proj(looked.transpose(1, 2).flatten(1)), p, training)
    hidden = layer.activation_fn(layer.fc1(layer.final_layer_norm(last)))
    found: Tensor = encoder.layer_norm(last + dropout(layer.fc2(hidden), p, training))
    return found


def focus_loss(attentions: Sequence[Tensor], talk: Talk) -> Tensor:
    """How far the cross-attention looks away from `</s>` where a reply copies nothing from the talk.

    Args:
        attentions: of each layer, [batch, heads, reply length, input length], probabilities.
        talk: what was read and said.

    Returns:
        Mean negative logarithm (nats) of what each head gives to `</s>`.
    """
    labels = talk.batch["labels"]
    rows, ends = torch.arange(len(labels)), talk.batch["attention_mask"].sum(1) - 1
    share = torch.stack([layer[rows, :, :, ends] for layer in attentions]).float().permute(1, 3, 0, 2)
    return -(share[(labels != IGNORED) & ~talk.copied] + 1e-4).log().mean()


def copy_loss(attention: Tensor, talk: Talk) -> Tensor:
    """How far the last cross-attention looks away from the token of the user's name that it should copy.

    Args:
        attention: [batch, heads, reply length, input length], probabilities.
        talk: what was read and said.

    Returns:
        Mean negative logarithm (nats) of what each head gives to the places of the label; 0 where there is no name.
    """
    same = talk.batch["labels"][:, :, None] == talk.batch["input_ids"][:, None, :]
    places = same & talk.own_names[:, None, :] & talk.names_said[:, :, None]
    asked = places.any(-1)
    if not asked.any():
        return attention.new_zeros(())
    share = (attention.float() * places[:, None]).sum(-1).permute(0, 2, 1)[asked]
    return -(share + 1e-4).log().mean()
