"""How a reply is decoded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from service.engine.errors import UnsupportedSetting

# Rows (beams times requests) of one step beyond which a larger batch brings few more tokens a second: measured on the
# 400M shape, 10 rows take 1.8 ms each, 20 rows 1.4 and 40 rows 1.3.
MAX_ROWS = 40
# What None means in transformers, where it is not the same as leaving a setting out.
NONE_MEANS: Mapping[str, Any] = {
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "forced_eos_token_id": None,
    "seed": None,
}
# Lengths that do not count the start token; they win over those that do.
NEW_TOKENS = {"max_new_tokens": "max_length", "min_new_tokens": "min_length"}
# Content of a generation config that has no bearing on the tokens.
IGNORED = frozenset({"bos_token_id", "transformers_version", "_from_model_config"})
# What a model's own settings may hold besides, since it changes no token of one reply.
WITHOUT_BEARING = frozenset(
    {
        "cache_config",
        "cache_implementation",
        "disable_compile",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_logits",
        "output_scores",
        "return_dict_in_generate",
        "return_legacy_cache",
        "use_cache",
    }
)
# Settings of transformers that this engine does not do, each with the value that asks for nothing.
NEUTRAL: Mapping[str, Any] = {
    "assistant_confidence_threshold": 0.4,
    "assistant_early_exit": None,
    "assistant_lookbehind": 10,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "cache_config": None,
    "cache_implementation": None,
    "constraints": None,
    "disable_compile": False,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "forced_bos_token_id": None,
    "guidance_scale": None,
    "is_assistant": False,
    "low_memory": None,
    "max_matching_ngram_size": None,
    "max_time": None,
    "min_p": None,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_logits": None,
    "output_scores": False,
    "penalty_alpha": None,
    "prefill_chunk_size": None,
    "prompt_lookup_num_tokens": None,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "return_dict_in_generate": False,
    "return_legacy_cache": None,
    "sequence_bias": None,
    "stop_strings": None,
    "suppress_tokens": None,
    "target_lookbehind": 10,
    "token_healing": False,
    "typical_p": 1.0,
    "use_cache": True,
    "watermarking_config": None,
}
# The `max_length` of transformers that nobody has set; it is one less than ours, which counts the start token.
UNSET_MAX_LENGTH = 20
END_TOKENS = ("eos_token_id", "forced_eos_token_id")
MAX_FLOAT, MIN_FLOAT = sys.float_info.max, sys.float_info.min
RANGES: Mapping[str, tuple[type[Any], float, float]] = {
    "num_beams": (Integral, 1, 1000),
    "min_length": (Integral, 0, MAX_FLOAT),
    "max_length": (Integral, 2, MAX_FLOAT),
    "length_penalty": (Real, -10, 10),  # the length to its power has to be a float32
    "no_repeat_ngram_size": (Integral, 0, MAX_FLOAT),
    "encoder_no_repeat_ngram_size": (Integral, 0, MAX_FLOAT),
    "repetition_penalty": (Real, MIN_FLOAT, MAX_FLOAT),
    "temperature": (Real, MIN_FLOAT, MAX_FLOAT),
    "top_k": (Integral, 0, MAX_FLOAT),
    "top_p": (Real, MIN_FLOAT, 1),
}


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of one reply, named and meant as in transformers.

    Lengths count the start token, as `max_length` and `min_length` do for encoder-decoder models. The defaults are
    those of transformers, which takes its default `max_length` of 20 as 20 tokens after the start token.

    Attributes:
        seed: of the sampling; None draws a fresh one.
    """

    num_beams: int = 1
    do_sample: bool = False
    min_length: int = 0
    max_length: int = 21
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
            config: content of `generation_config.json`; values that are the defaults of transformers are not set.

        Raises:
            UnsupportedSetting: it asks for something that this engine does not do.
        """
        settings = {name: value for name, value in config.items() if name not in WITHOUT_BEARING}
        if settings.get("max_length") == UNSET_MAX_LENGTH:
            del settings["max_length"]
        for name in RANGES:
            if name not in NONE_MEANS and settings.get(name, 0) is None:
                raise UnsupportedSetting(f"The generation setting {name}=None is out of range.")
        for name in END_TOKENS:
            if isinstance(tokens := settings.get(name), list) and len(tokens) == 1:
                settings[name] = tokens[0]
        return DecodingSettings().override(settings)

    def override(self, changes: Mapping[str, Any]) -> DecodingSettings:
        """These settings with some changed, under the names that `generate` of transformers gives them.

        Raises:
            UnsupportedSetting: a setting is unknown, not done here, or out of range; the message names it.
        """
        supported = {field.name for field in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name in supported and value is not None:
                values[name] = value
            elif name in NONE_MEANS:
                values[name] = NONE_MEANS[name]
            elif name in supported or name in NEW_TOKENS or name in IGNORED:
                continue
            elif name not in NEUTRAL or value not in (None, NEUTRAL[name]):
                raise UnsupportedSetting(f"The generation setting {name}={value!r} is not supported by this engine.")
        for name, total in NEW_TOKENS.items():
            if changes.get(name) is not None:
                values[total] = changes[name] + 1
        changed = replace(self, **values)
        changed._check()
        return changed

    def check_window(self, window: int) -> None:
        """Refuse replies that are longer than a model of `window` positions can write.

        Raises:
            UnsupportedSetting: naming both numbers.
        """
        if self.max_length > window:
            raise UnsupportedSetting(
                f"max_length is {self.max_length}, and this model has {window} positions for a reply."
            )

    def _check(self) -> None:
        for name in END_TOKENS:
            if isinstance(getattr(self, name), list):
                raise UnsupportedSetting(f"Several end tokens ({name} as a list) are not supported by this engine.")
        if self.do_sample and self.num_beams > 1:
            raise UnsupportedSetting("do_sample with num_beams above 1 is not supported; sample with num_beams=1.")
        for name, (kind, lowest, highest) in RANGES.items():
            value = getattr(self, name)
            if not (isinstance(value, kind) and lowest <= value <= highest):
                raise UnsupportedSetting(f"The generation setting {name}={value!r} is out of range.")
        if self.early_stopping not in (True, False, "never"):
            raise UnsupportedSetting(f"The generation setting early_stopping={self.early_stopping!r} is out of range.")
        if self.seed is not None and self.seed < 0:
            raise UnsupportedSetting(f"The generation setting seed={self.seed!r} is out of range.")
