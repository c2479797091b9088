"""Why a completion request is refused: one sentence that names the field and what it may be."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.chat.task import MAX_CHOICES
from service.errors import InvalidField, UnsupportedField

EXAMPLE = '{"messages": [{"role": "user", "content": "Hello, how are you today?"}]}'
# Of a wrong name or value so much is shown.
MAX_SHOWN_CHARS = 60

# What a field must be, and for those that are not done, the value that asks for nothing.
EXPECTED: Mapping[str, str] = {
    "messages": f"an array of messages such as {EXAMPLE}",
    "role": "system, developer, user, assistant, tool or function",
    "content": 'a string, or an array of text parts such as [{"type": "text", "text": "Hello"}]',
    "type": '"text"',
    "text": "a string",
    "refusal": "a string",
    "name": "a string",
    "model": "a name that GET /v1/models gives",
    "temperature": "a number from 0 to 2",
    "top_p": "a number above 0 and up to 1",
    "max_tokens": "a whole number of at least 1",
    "max_completion_tokens": "a whole number of at least 1",
    "stop": "a string or an array of up to 4 strings, none of them empty",
    "seed": "a whole number of 64 bits",
    "n": f"a whole number from 1 to {MAX_CHOICES}",
    "ignore_eos": "true or false",
    "stream": "true or false",
    "stream_options": 'an object such as {"include_usage": true}',
    "include_usage": "true or false",
    "user": "a string",
    "safety_identifier": "a string",
    "metadata": "an object",
    "prompt_cache_key": "a string",
    "prompt_cache_retention": "a string",
    "prompt_cache_options": "an object",
    "parallel_tool_calls": "true or false",
}
NEUTRAL: Mapping[str, str] = {
    "service_tier": '"auto"',
    "store": "false",
    "include_obfuscation": "false",
    "logprobs": "false",
    "top_logprobs": "0",
    "presence_penalty": "0",
    "frequency_penalty": "0",
    "logit_bias": "{}",
    "response_format": '{"type": "text"}',
    "tools": "[]",
    "tool_choice": '"none"',
    "functions": "[]",
    "function_call": '"none"',
    "modalities": '["text"]',
    "audio": "null",
    "prediction": "null",
    "reasoning_effort": '"none"',
    "verbosity": '"medium"',
    "web_search_options": "null",
    "moderation": "null",
}
NAMES = frozenset(EXPECTED) | frozenset(NEUTRAL)


def refusal(error: ValidationError) -> InvalidField:
    """Of all that is wrong, the most precise."""
    problem = max(error.errors(include_url=False), key=lambda problem: len(problem["loc"]))
    unknown = problem["type"] == "extra_forbidden"
    *path, last = problem["loc"] or [""]
    # Among the names stand those of the alternatives that were tried.
    place = [part for part in path if isinstance(part, int) or part in NAMES]
    if unknown or isinstance(last, int) or last in NAMES:
        place.append(last)
    param = ".".join(str(part) for part in place)[:MAX_SHOWN_CHARS]
    if unknown:
        return UnsupportedField(f"The field {param} is unknown here; leave it out.", param=param)
    if problem["type"] == "string_unicode":
        where = f"field {param}" if param else "body"
        return InvalidField(
            f"The {where} holds an unpaired surrogate; send whole Unicode characters.", param=param or None
        )
    names = [part for part in place if isinstance(part, str)]
    neutral = next((NEUTRAL[name] for name in names if name in NEUTRAL), None)
    if neutral is not None:
        return UnsupportedField(f"The field {param} is not supported; leave it out or send {neutral}.", param=param)
    return InvalidField(_sentence(problem, param, EXPECTED[names[-1]]), param=param)


def _sentence(problem: ErrorDetails, param: str, expected: str) -> str:
    if problem["type"] == "missing":
        return f"The field {param} is missing; it must be {expected}."
    value = problem["input"]
    exception = f", and not {json.dumps(value)[:MAX_SHOWN_CHARS]}" if isinstance(value, str | int | float) else ""
    return f"The field {param} must be {expected}{exception}."
