"""Kinds of fields that several requests have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError


def _off(value: bool) -> bool:
    if value:
        raise PydanticCustomError("not_off", "not false")
    return value


def _whole_number(value: object) -> object:
    """JSON knows no difference between 5 and 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_characters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_whole_characters)]
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
# Beside `int` and what else is asked of it.
WHOLE = BeforeValidator(_whole_number)
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ExchangeNumber = Annotated[int, Field(ge=1, lt=2**53), WHOLE]
