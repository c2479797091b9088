"""How a reply is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from service.errors import UnsupportedSetting

# Settings of transformers that change nothing at these values; any other value is refused by name.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "num_return_sequences": (1,),
    "num_beam_groups": (1,),
    "diversity_penalty": (0, 0.0, None),
    "typical_p": (1, 1.0, None),
    "min_p": (None,),
    "epsilon_cutoff": (0, 0.0, None),
    "eta_cutoff": (0, 0.0, None),
    "penalty_alpha": (None,),
    "dola_layers": (None,),
    "bad_words_ids": (None,),
    "force_words_ids": (None,),
    "constraints": (None,),
    "forced_bos_token_id": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None,),
    "encoder_repetition_penalty": (1, 1.0, None),
    "guidance_scale": (None, 1, 1.0),
    "exponential_decay_length_penalty": (None,),
    "renormalize_logits": (False, None),
    "remove_invalid_values": (False, None),
    "output_scores": (False, None),
    "output_logits": (False, None),
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "return_dict_in_generate": (False, None),
    "max_time": (None,),
    "stop_strings": (None,),
    "watermarking_config": (None,),
    "assistant_model": (None,),
    "prompt_lookup_num_tokens": (None,),
    "cache_implementation": (None,),
    "low_memory": (None, False),
    "prefill_chunk_size": (None,),
    "token_healing": (False, None),
    "use_cache": (True,),
    "synced_gpus": (None, False),
}
# Bookkeeping of transformers that has no bearing on the tokens.
IGNORED = frozenset({"bos_token_id", "transformers_version", "disable_compile", "compile_config", "generation_kwargs",
                     "cache_config", "return_legacy_cache", "is_assistant", "num_assistant_tokens",
                     "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit",
                     "assistant_lookbehind", "target_lookbehind", "max_matching_ngram_size"})  # fmt: skip


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of one reply, named and meant as in transformers.

    Lengths count the start token, as `max_length` and `min_length` do for encoder-decoder models.

    Attributes:
        seed: of the sampling; None draws a fresh one.
    """

    num_beams: int = 1
    do_sample: bool = False
    min_length: int = 0
    max_length: int = 60
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    seed: int | None = None
    decoder_start_token_id: int = 1
    eos_token_id: int = 2
    pad_token_id: int = 0
    forced_eos_token_id: int | None = None

    @staticmethod
    def from_generation_config(config: Mapping[str, Any]) -> DecodingSettings:
        """The settings that a model brings along.

        Args:
            config: content of `generation_config.json`.

        Raises:
            UnsupportedSetting: it asks for something that this engine does not do.
        """
        return DecodingSettings().override(config)

    def override(self, changes: Mapping[str, Any]) -> DecodingSettings:
        """These settings with some changed, under the names that `generate` of transformers gives them.

        Raises:
            UnsupportedSetting: a setting is unknown, not done here, or out of range; the message names it.
        """
        known = {field.name for field in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name in IGNORED or name.startswith("_"):
                continue
            if name == "max_new_tokens":
                values |= {} if value is None else {"max_length": value + 1}
            elif name == "min_new_tokens":
                values |= {} if value is None else {"min_length": max(self.min_length, value + 1)}
            elif name in known:
                values |= {} if value is None and name not in {"seed", "forced_eos_token_id"} else {name: value}
            elif name not in NEUTRAL or value not in NEUTRAL[name]:
                raise UnsupportedSetting(f"The generation setting {name}={value!r} is not supported by this engine.")
        changed = replace(self, **values)
        changed._check()
        return changed

    def _check(self) -> None:
        if isinstance(self.eos_token_id, list) or isinstance(self.forced_eos_token_id, list):
            raise UnsupportedSetting("Several end tokens (eos_token_id as a list) are not supported by this engine.")
        if self.do_sample and self.num_beams > 1:
            raise UnsupportedSetting("do_sample with num_beams above 1 is not supported; sample with num_beams=1.")
        ranges: dict[str, bool] = {
            "num_beams": self.num_beams >= 1,
            "max_length": self.max_length >= 2,
            "min_length": self.min_length >= 0,
            "no_repeat_ngram_size": self.no_repeat_ngram_size >= 0,
            "encoder_no_repeat_ngram_size": self.encoder_no_repeat_ngram_size >= 0,
            "repetition_penalty": self.repetition_penalty > 0,
            "temperature": self.temperature > 0,
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "early_stopping": self.early_stopping in (True, False, "never"),
        }
        for name, allowed in ranges.items():
            if not allowed:
                raise UnsupportedSetting(f"The generation setting {name}={getattr(self, name)!r} is out of range.")
