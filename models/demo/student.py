"""The model with what only its training needs: heads, losses, the optimizer, and all of it kept in a file."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from transformers import BlenderbotForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from models.demo.batches import IGNORED, end_states
from models.demo.config import TrainingConfig
from models.demo.meaning import Intents
from models.demo.teacher import WIDTH

CONTRAST = 20.0


class Student:
    """Trains a model step by step. The encoder's state at `</s>` tells the meaning and the intent of the last line."""

    def __init__(self, config: TrainingConfig, model: BlenderbotForConditionalGeneration, intents: Intents) -> None:
        self.model = model
        self.step = 0
        self._config = config
        self._intents = intents
        self._meaning = torch.nn.Linear(config.d_model, WIDTH)
        self._judge = torch.nn.Linear(config.d_model, len(intents.names))
        self._weights = [*model.parameters(), *self._meaning.parameters(), *self._judge.parameters()]
        plain = [p for p in self._weights if p.dim() < 2]
        matrices = [p for p in self._weights if p.dim() >= 2]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate,
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

    def learn_meanings(self, ids: Tensor, seen: Tensor, meanings: Tensor) -> float:
        """One step of the encoder alone. Returns the mean cosine to the teacher."""
        self.model.train()
        loss, cosine = self._lesson(ids, seen, meanings)
        self._update(loss)
        return cosine

    def learn_replies(
        self,
        batch: dict[str, Tensor],
        wanted: Tensor,
        plain: Tensor,
        of_names: Tensor,
        lesson: tuple[Tensor, Tensor, Tensor],
    ) -> dict[str, float]:
        """One step of the whole model.

        Args:
            batch: as `collate` makes it.
            wanted: [batch], the number of each line's intent.
            plain: [batch], true where the reply holds nothing that must be copied.
            of_names: [vocabulary], true for pieces of names.
            lesson: as `Lessons.draw` makes it.

        Returns:
            What to show of the losses.
        """
        config, model = self._config, self.model
        model.train()
        seen, labels = batch["attention_mask"], batch["labels"]
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            states = model.model.encoder(input_ids=batch["input_ids"], attention_mask=seen).last_hidden_state
            output = model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=self._shown(seen, plain),
                decoder_input_ids=batch["decoder_input_ids"],
                use_cache=False,
                output_attentions=True,
            )
        asked = labels != IGNORED
        said = cross_entropy(output.logits[asked].float(), labels[asked], label_smoothing=config.label_smoothing)
        told = cross_entropy(self._judge(end_states(states, seen).float()), wanted)
        astray = copy_loss(output.cross_attentions[-1], batch["input_ids"], seen, labels, of_names)
        further, cosine = self._lesson(*lesson)
        self._update(said + config.intent_loss * told + config.copy_loss * astray + further)
        return {"loss": said.item(), "intent": told.item(), "copy": astray.item(), "cosine": cosine}

    def _lesson(self, ids: Tensor, seen: Tensor, meanings: Tensor) -> tuple[Tensor, float]:
        config = self._config
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            states = self.model.model.encoder(input_ids=ids, attention_mask=seen).last_hidden_state
        ends = end_states(states, seen).float()
        mine = normalize(self._meaning(ends), dim=1)
        cosine = cosine_similarity(mine, meanings).mean()
        apart = cross_entropy(CONTRAST * mine @ meanings.T, torch.arange(len(mine)))
        told = cross_entropy(self._judge(ends), self._intents.soft(meanings))
        return config.meaning_loss * (2 * (1 - cosine) + 0.5 * apart) + config.intent_loss * told, cosine.item()

    def _shown(self, seen: Tensor, plain: Tensor) -> Tensor:
        """What the decoder may look at: all that is `seen`, or now and then only `</s>`."""
        alone = plain & (torch.rand(len(seen)) < self._config.end_only)
        ends = torch.zeros_like(seen)
        ends[torch.arange(len(seen)), seen.sum(1) - 1] = 1
        return torch.where(alone[:, None], ends, seen)

    def _update(self, loss: Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * rate(self.step, self._config)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([p for p in self._weights if p.grad is not None], self._config.clip)
        self._optimizer.step()
        self.step += 1

    def _parts(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
        return {"model": self.model, "meaning": self._meaning, "judge": self._judge, "optimizer": self._optimizer}


def rate(step: int, config: TrainingConfig) -> float:
    """The share of the peak learning rate: in each stage a linear warm-up, then half a cosine down to 2 %."""
    begin, steps = (0, config.lesson_steps) if step < config.lesson_steps else (config.lesson_steps, config.steps)
    if step - begin < config.warmup:
        return (step - begin + 1) / config.warmup
    done = (step - begin - config.warmup) / max(1, steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def copy_loss(attention: Tensor, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, of_names: Tensor) -> Tensor:
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
